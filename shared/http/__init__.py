"""What an HTTP function does around its handler: tokens, signatures, idempotency, validation, the response."""
