"""Adapters on local files: sealing keys and named secrets, the keys of an issuer, feature flags."""
