"""The documents, ledger and nonces ports on one SQLite file, written by a process of its own."""
