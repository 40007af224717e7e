# Memory is not locked: the pod has no capability for it. Nodes must not swap.
disable_mlock = true
ui            = false

listener "tcp" {
  address            = "[::]:8200"
  cluster_address    = "[::]:8201"
  tls_cert_file      = "/vault/tls/tls.crt"
  tls_key_file       = "/vault/tls/tls.key"
  tls_client_ca_file = "/vault/tls/ca.crt"
  telemetry {
    unauthenticated_metrics_access = true
  }
}

storage "raft" {
  path = "/vault/data"
  retry_join {
    leader_api_addr       = "https://vault-0.vault-nodes:8200"
    leader_ca_cert_file   = "/vault/tls/ca.crt"
  }
  retry_join {
    leader_api_addr       = "https://vault-1.vault-nodes:8200"
    leader_ca_cert_file   = "/vault/tls/ca.crt"
  }
  retry_join {
    leader_api_addr       = "https://vault-2.vault-nodes:8200"
    leader_ca_cert_file   = "/vault/tls/ca.crt"
  }
}

telemetry {
  prometheus_retention_time = "1m"
  disable_hostname          = true
}

# Choose the seal of your cloud (awskms, azurekeyvault, gcpckms) or an HSM here. Without one, each node must be unsealed by
# hand after each restart:
#
# seal "awskms" {
#   region     = "sa-east-1"
#   kms_key_id = "…"
# }
