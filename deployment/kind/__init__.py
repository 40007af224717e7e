"""Lastro on kind: a Kubernetes in containers on one machine."""
