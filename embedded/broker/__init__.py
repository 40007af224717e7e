"""The broker: delivers events to functions as Triggers, sources and schedules say, with retries and dead letters."""
