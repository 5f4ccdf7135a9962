"""A loop of a hundred steps goes on where it was when its worker was killed."""
