"""What is compiled: buffers, texts, hashes, and the columns and JSON that come out of them."""
