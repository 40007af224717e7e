# What the functions of the domain notifications may do.

# Verifies the signatures of requests.
path "transit/decrypt/lastro-signing-secrets" {
  capabilities = ["update"]
}

# Stores the tokens of devices.
path "transit/encrypt/lastro-personal-data" {
  capabilities = ["update"]
}

# Writes to users by their names and addresses.
path "transit/decrypt/lastro-personal-data" {
  capabilities = ["update"]
}

# Seals the tokens of devices again after a key was rotated.
path "transit/rewrap/lastro-personal-data" {
  capabilities = ["update"]
}
