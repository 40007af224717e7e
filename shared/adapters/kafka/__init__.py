"""Events on Apache Kafka."""
