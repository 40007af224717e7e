"""Adapters in memory: every port for tests, and the cache of the one-machine platform."""
