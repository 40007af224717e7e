"""The operations of the platform, one deployable function a file, grouped by the domain that owns their data."""
