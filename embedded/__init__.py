"""The one-machine platform: it does in one process what the manifests configure on a cluster. Nothing else has to be
installed."""
