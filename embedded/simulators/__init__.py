"""Simulated payment providers, for platforms that have no real one configured."""
