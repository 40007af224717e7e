"""The decision about a release that takes traffic step by step: to promote it, to wait, or to take it back."""
