"""The HTTP server of the one-machine platform (docs/decisions/0016)."""
