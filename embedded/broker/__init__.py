"""The broker: it delivers events to functions as Triggers, sources and schedules define, with retries and dead
letters."""
