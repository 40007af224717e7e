"""Facts about payments, one module for each: a function loads only those that it consumes and publishes."""
