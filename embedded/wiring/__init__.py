"""The wiring check: every function has a way in, and every route, Trigger, source and schedule leads to a function."""
