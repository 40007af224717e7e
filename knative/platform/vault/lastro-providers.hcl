# What the functions of the domain providers may do.

# Verifies the signatures of requests.
path "transit/decrypt/lastro-signing-secrets" {
  capabilities = ["update"]
}

# Verifies the callbacks of providers.
path "secret/data/lastro/providers/+/callback-secret" {
  capabilities = ["read"]
}

# Orders payments over a rail at their providers.
path "transit/decrypt/lastro-receivers" {
  capabilities = ["update"]
}
