"""The bus: messages as received, in order, replayable; it knows nothing of what they contain."""
