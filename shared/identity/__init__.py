"""Tokens and tenants: who calls, for which tenant, with which scopes and limits."""
