# What the functions of the domain users may do.

# Verifies the signatures of requests.
path "transit/decrypt/lastro-signing-secrets" {
  capabilities = ["update"]
}

# Stores personal data.
path "transit/encrypt/lastro-personal-data" {
  capabilities = ["update"]
}

# Shows a user to the user's tenant.
path "transit/decrypt/lastro-personal-data" {
  capabilities = ["update"]
}

# Seals personal data again after a key was rotated.
path "transit/rewrap/lastro-personal-data" {
  capabilities = ["update"]
}

# Exports to a user the charges that name the user as debtor.
path "transit/decrypt/lastro-payers" {
  capabilities = ["update"]
}

# Finds a user by document number.
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
