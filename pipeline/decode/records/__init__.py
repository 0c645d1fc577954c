"""JSON records of any shape, walked once for the cells that are wanted."""
