"""What the check at the door knows of each kind of format."""
