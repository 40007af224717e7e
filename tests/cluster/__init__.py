"""A Kubernetes with Knative on one machine, from package registries alone, and the checks of our manifests on it."""
