"""Readers of the manifests (Knative, Kafka, Kong), which refuse what the one-machine platform does not carry out."""
