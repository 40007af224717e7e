"""Puts Lastro on a Kubernetes: the steps that kind and the test cluster share, and the whole of kind."""
