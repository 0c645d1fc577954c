"""Protobuf as bytes: declarations, and the one walk that all formats of it share."""
