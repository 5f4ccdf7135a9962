"""A person decides, or does not: an event with a timeout."""
