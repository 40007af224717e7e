"""The documents and nonces ports on MongoDB, which several processes share (docs/decisions/0022)."""
