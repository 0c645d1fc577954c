"""Metrics as Prometheus has them, whatever way they came."""
