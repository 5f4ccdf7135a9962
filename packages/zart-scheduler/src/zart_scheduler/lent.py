"""The connections that steps get to see: lent for one block, and of no use after it.

Each is a face of its own on a connection that the worker keeps: what a step does to the object (row factories,
adapters, handlers) does not outlive the step, and a reference that is kept never reaches another step's transaction.
"""

from __future__ import annotations

from typing import Any, TypeVar

from psycopg import AsyncConnection, Connection
from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn

from zart_core import UsageError

RV = TypeVar("RV")

_OVER = (
    "the block of the step's transaction is over, and so is the use of its connection: "
    "put every statement inside `with transaction()`"
)
_NOT_YOURS = (
    "a step's transaction commits when the step returns, and rolls back when it raises: the connection's own {} "
    "would part the effect from its record; for a part that may fail use `conn.transaction()`, a savepoint"
)


class LentAsyncConnection(AsyncConnection[Any]):
    """A connection for code on the worker's loop."""

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.prepare_threshold = None
        self.is_over = False

    async def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Talk to the server, while the block lasts."""
        if self.is_over:
            raise UsageError(_OVER)
        return await super().wait(gen, *args, **kwargs)

    async def commit(self) -> None:
        """Refuse: the step's return commits."""
        raise UsageError(_NOT_YOURS.format("commit"))

    async def rollback(self) -> None:
        """Refuse: an exception rolls back."""
        raise UsageError(_NOT_YOURS.format("rollback"))

    async def close(self) -> None:
        """Refuse: it is lent."""
        raise UsageError(_NOT_YOURS.format("close"))

    def __del__(self, *_: Any) -> None:
        """Leave the connection alone: it belongs to the worker."""


class LentConnection(Connection[Any]):
    """A connection for a thread."""

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.prepare_threshold = None
        self.is_over = False

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Talk to the server, while the block lasts."""
        if self.is_over:
            raise UsageError(_OVER)
        return super().wait(gen, *args, **kwargs)

    def commit(self) -> None:
        """Refuse: the step's return commits."""
        raise UsageError(_NOT_YOURS.format("commit"))

    def rollback(self) -> None:
        """Refuse: an exception rolls back."""
        raise UsageError(_NOT_YOURS.format("rollback"))

    def close(self) -> None:
        """Refuse: it is lent."""
        raise UsageError(_NOT_YOURS.format("close"))

    def __del__(self, *_: Any) -> None:
        """Leave the connection alone: it belongs to the worker."""


Lent = LentAsyncConnection | LentConnection
