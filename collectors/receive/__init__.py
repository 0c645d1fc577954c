"""One file per transport; nothing here knows what the bytes mean."""
