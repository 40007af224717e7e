"""The export of traces and metrics by OTLP, when an endpoint is configured."""
