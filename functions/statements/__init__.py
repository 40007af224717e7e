"""Balances and statements, which are projections of the ledger for reading."""
