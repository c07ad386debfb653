"""The fault run: a whole system under a steady load is hurt in one way after another, and everything is counted."""
