"""The public web site: what Chikaya is, filing a complaint, following it."""
