"""The schema's history. `migrate.py` runs it; the functions' text is in `zart_scheduler.sql`."""
