"""A step and its record in one commit: written exactly once, whenever its worker dies."""
