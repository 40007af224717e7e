"""Facts about payments: a module each, so that a function loads those that it takes and tells."""
