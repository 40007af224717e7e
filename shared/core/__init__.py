"""Values and rules that need no port: money, ids, clocks, envelopes, problems, settings."""
