"""What a start of the database's clients takes: the options of every start, and the caller's own transaction."""

from __future__ import annotations

from zart_core.spi import PlainOptions
from zart_scheduler.borrowed import Conn, SyncConn


class StartOptions(PlainOptions, total=False):
    """The options of a start.

    Keys:
        conn: A psycopg or SQLAlchemy connection, or a session, in a transaction: the execution exists if and only
            if that commits.
    """

    conn: Conn | None


class SyncStartOptions(PlainOptions, total=False):
    """The options of a blocking start.

    Keys:
        conn: A psycopg or SQLAlchemy connection, or a session, in a transaction: the execution exists if and only
            if that commits.
    """

    conn: SyncConn | None
