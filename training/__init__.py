"""Making models."""
