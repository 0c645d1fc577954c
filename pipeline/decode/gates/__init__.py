"""How the door checks a body: one gate for each kind of format."""
