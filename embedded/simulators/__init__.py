"""Simulated payment providers, used when no real one is configured."""
