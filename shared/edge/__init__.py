"""What runs beside the gateway of a cluster."""
