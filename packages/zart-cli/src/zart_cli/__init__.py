"""The command zart: migrate, run workers, start, watch and cancel durable workflows."""
