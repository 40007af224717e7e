# What `lastro up` may do.

# One process has the functions of every domain.
path "transit/encrypt/lastro-*" {
  capabilities = ["update"]
}

# One process has the functions of every domain.
path "transit/decrypt/lastro-*" {
  capabilities = ["update"]
}

# Seals fields again after a key was rotated.
path "transit/rewrap/lastro-*" {
  capabilities = ["update"]
}

# Finds a user by document number.
path "transit/hmac/lastro-blind-index/sha2-256" {
  capabilities = ["update"]
}

# Makes and reads the platform's own secrets.
path "secret/data/lastro/*" {
  capabilities = ["create", "read", "update"]
}
