"""When things run; the only place where the stages meet."""
