"""Alembic's entry: run migrations on the connection that `migrate.py` hands in, inside its transaction."""

from __future__ import annotations

from alembic import context

from zart_scheduler.migrations.execute import VERSION_TABLE


def _run() -> None:
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", version_table=VERSION_TABLE)
    else:
        context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


_run()
