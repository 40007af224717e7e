"""The ports: the protocols by which functions reach stores, the bus, secrets, flags and providers."""
