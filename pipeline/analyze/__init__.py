"""Frames in, frames out: no clock, no input or output."""
