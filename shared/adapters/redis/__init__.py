"""The cache and nonces ports on Redis: one server, with TLS, or behind Sentinels."""
