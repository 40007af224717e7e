"""What the rails have in common: access to a provider's API, a circuit breaker, signed callbacks, masking."""
