"""The one-machine platform as a whole: its parts put together, opened, checked for readiness and closed."""
