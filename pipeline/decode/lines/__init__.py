"""Lines of text: tokens, pairs, flat JSON, and what their texts mean."""
