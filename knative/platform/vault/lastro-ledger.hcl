# What the functions of the domain ledger may do.

# Verifies the signatures of requests.
path "transit/decrypt/lastro-signing-secrets" {
  capabilities = ["update"]
}
