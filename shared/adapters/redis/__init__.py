"""The ports of cache, nonces and rate limits on Redis: one server, with TLS, or behind Sentinels."""
