"""Readers of the manifests of Knative, Kafka and Kong. They refuse what the one-machine platform does not support."""
