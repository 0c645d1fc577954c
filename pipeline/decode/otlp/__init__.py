"""What formats that are OTLP, or become it, have in common."""
