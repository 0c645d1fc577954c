"""Recommendations to the native documents of control planes."""
