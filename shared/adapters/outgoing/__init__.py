"""Requests to addresses that tenants have chosen: the check of the addresses, and the HTTP client."""
