"""Receivers: sockets and files in, checked and masked wire bytes on the bus out."""
