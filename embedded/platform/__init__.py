"""The one-machine platform: it creates and connects its parts, reports their state, and stops them."""
