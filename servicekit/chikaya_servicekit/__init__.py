"""The plumbing of every Chikaya process: settings, broker, batches, retry and dead letters, telemetry, HTTP errors."""
