"""Programs that show Zart at work."""
