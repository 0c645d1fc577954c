"""Notebooks and the plots they share."""
