"""Secrets and persons: hidden in place, before anything is stored."""
