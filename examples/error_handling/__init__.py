"""Errors: by type, not retried, too late; and the same branches after a crash."""
