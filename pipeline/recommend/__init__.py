"""Findings to recommendations, in a neutral form that names no vendor."""
