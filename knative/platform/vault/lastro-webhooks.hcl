# What the functions of the domain webhooks may do.

# Verifies the signatures of requests.
path "transit/decrypt/lastro-signing-secrets" {
  capabilities = ["update"]
}

# Stores the secrets of new endpoints.
path "transit/encrypt/lastro-webhook-secrets" {
  capabilities = ["update"]
}

# Signs the events that are sent.
path "transit/decrypt/lastro-webhook-secrets" {
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
