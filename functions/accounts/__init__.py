"""Accounts: opened and closed, with the balance that is available and the holds on it."""
