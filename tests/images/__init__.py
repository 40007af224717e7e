"""Container images made without a container engine: layers, configuration and index in one OCI archive."""
