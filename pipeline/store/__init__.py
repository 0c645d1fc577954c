"""The store: one writer, many readers; committed rows, and answers to named questions."""
