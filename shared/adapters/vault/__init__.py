"""The secrets port on HashiCorp Vault's API: named secrets in KV version 2, and keys in Transit."""
