"""The PostgreSQL store: every function is pure and returns a `Statement`; `run` and `run_sync` execute it."""
