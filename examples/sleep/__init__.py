"""Durable sleep: no process has to live until it is over."""
