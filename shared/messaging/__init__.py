"""What an event function does around its handler: the HTTP binding, the inbox, validation, the status."""
