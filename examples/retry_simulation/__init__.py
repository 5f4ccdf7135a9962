"""Retries: a policy, the attempts it makes, and what the body sees when they are spent."""
