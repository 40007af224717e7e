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

# Stores the debtors of charges, and the texts of reports of fraud.
path "transit/encrypt/lastro-payers" {
  capabilities = ["update"]
}

# Shows them to their tenant.
path "transit/decrypt/lastro-payers" {
  capabilities = ["update"]
}

# Seals them again after a key was rotated.
path "transit/rewrap/lastro-payers" {
  capabilities = ["update"]
}

# Finds the charges of a debtor by number.
path "transit/hmac/lastro-blind-index/sha2-256" {
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
