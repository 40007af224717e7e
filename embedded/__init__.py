"""The one-machine platform: carries out the manifests of the cluster in one process, with nothing else to install."""
