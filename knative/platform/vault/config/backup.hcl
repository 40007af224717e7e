# What the job that takes snapshots may do.
path "sys/storage/raft/snapshot" {
  capabilities = ["read"]
}
