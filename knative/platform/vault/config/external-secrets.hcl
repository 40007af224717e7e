# What the External Secrets operator may do: read the platform's own connections, and nothing of tenants or providers.
path "secret/data/lastro/platform/*" {
  capabilities = ["read"]
}
