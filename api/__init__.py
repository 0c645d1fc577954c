"""The face: HTTP and the command line, two ways in to the same functions."""
