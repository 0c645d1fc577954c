"""The vocabulary of Meshweir: words, tables and values; nothing here does input or output."""
