# What the functions of the domain tenants may do.

# Verifies the signatures of requests.
path "transit/decrypt/lastro-signing-secrets" {
  capabilities = ["update"]
}

# Stores the secrets of new signing keys.
path "transit/encrypt/lastro-signing-secrets" {
  capabilities = ["update"]
}

# Stores responses for retries of a request.
path "transit/encrypt/lastro-responses" {
  capabilities = ["update"]
}

# Repeats a stored response.
path "transit/decrypt/lastro-responses" {
  capabilities = ["update"]
}
