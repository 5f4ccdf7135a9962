"""The commands: one file for each noun, one function for each verb."""
