"""Cutting bodies that are larger than a message of the bus, each kind of format in its own way."""
