"""The adapters behind the ports. Each imports its driver at first use."""
