"""The ledger port on Apache Cassandra."""
