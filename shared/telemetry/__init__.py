"""Traces, metrics and log lines, without secrets or personal data."""
