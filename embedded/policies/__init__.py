"""The policies of a cluster that follow from the wiring: which pod may talk to which, and as whom."""
