"""Tenants: created, with their limits and their request signing keys."""
