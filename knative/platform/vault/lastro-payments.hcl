# What the functions of the domain payments may do.

# Verifies the signatures of requests.
path "transit/decrypt/lastro-signing-secrets" {
  capabilities = ["update"]
}

# Stores the receivers of payments over a rail.
path "transit/encrypt/lastro-receivers" {
  capabilities = ["update"]
}
