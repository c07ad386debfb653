"""The examples as they stand, in processes of their own, in each language whose runtime is here."""
