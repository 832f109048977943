"""What linegate counts, for Prometheus. The only folder that knows prometheus_client."""
