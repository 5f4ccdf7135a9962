"""One attempt of a step while its code runs: its signs of life, and its one transaction.

The code may be on the worker's loop or in a thread; it may even go on after the attempt is over, and is refused then.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from concurrent.futures import Future
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

from zart_core.errors import TransactionInUse, UsageError, WrongTask

if TYPE_CHECKING:
    from psycopg import AsyncConnection, Connection
    from psycopg.rows import TupleRow

    from zart_core.host import Host, StepTransaction
    from zart_core.pulse import Pulse


class OpenAttempt:
    """An attempt under way. Its transaction is rolled back at the end, unless it was taken to be committed."""

    def __init__(self, host: Host, name: str, pulse: Pulse) -> None:
        self._host, self.name, self.pulse = host, name, pulse
        self._lock = Lock()
        self._has_begun = self._is_over = False
        self._opening: Future[Any] | None = None
        self._transaction: StepTransaction | None = None
        self._latest: StepTransaction | None = None

    # -- for the code of the step, in any thread

    def check_free(self) -> None:
        """Refuse a second transaction, and one of a step that is over.

        Raises:
            TransactionInUse: This attempt has had one.
        """
        if self._is_over:
            raise UsageError(f"step {self.name!r} is over: what it left running cannot begin a transaction")
        if self._has_begun:
            raise TransactionInUse(self.name)

    async def begin(self) -> Any:
        """Begin the transaction and return the connection; for code on the worker's loop."""
        if events._get_running_loop() is not self._host.loop:  # noqa: SLF001 - None in threads, no exception
            raise WrongTask(
                f"step {self.name!r} asked for its transaction on an event loop of its own: use "
                f"`with transaction()` in threads"
            )
        self._claim()
        return await self._begin(is_async=True)

    def begin_in_thread(self) -> Any:
        """Begin the transaction and return the connection; blocks until there is one."""
        if events._get_running_loop() is not None:  # noqa: SLF001 - as above
            raise WrongTask(
                f"step {self.name!r} is async, so a blocking connection would hold up its whole worker: "
                f"write `async with transaction()`"
            )
        self._claim()
        self._opening = asyncio.run_coroutine_threadsafe(self._begin(is_async=False), self._host.loop)
        if self._is_over:  # it may have ended before there was anything to cancel
            self._opening.cancel()
        return self._opening.result()

    def leave(self, *, failed: bool) -> None:
        """The block is over. What failed in it is rolled back, also if the step goes on."""
        assert self._latest is not None  # noqa: S101 - the block has begun
        self._latest.leave()
        if failed:
            if events._get_running_loop() is self._host.loop:  # noqa: SLF001 - as above
                self._roll_back()
            else:  # before the step's end can be heard of there
                self._host.loop.call_soon_threadsafe(self._roll_back)

    def _claim(self) -> None:
        with self._lock:
            self.check_free()
            self._has_begun = True

    async def _begin(self, *, is_async: bool) -> Any:
        transaction = await self._host.begin_transaction(is_async=is_async)
        if self._is_over:
            transaction.roll_back()
            self.check_free()
        self._transaction = self._latest = transaction
        return transaction.connection

    # -- for the engine, on the worker's loop

    def excuses(self, error: BaseException) -> bool:
        """Return whether `error` is the database's or the network's fault, so that the attempt does not count (L6)."""
        return self._latest is not None and self._latest.excuses(error)

    def take(self) -> StepTransaction | None:
        """Return the transaction, if there is one, to be committed or rolled back by the caller."""
        transaction, self._transaction = self._transaction, None
        return transaction

    def end(self) -> None:
        """The attempt is over: roll back what nobody took."""
        self._is_over = True
        self.pulse.end()
        if self._opening is not None:
            self._opening.cancel()
        self._roll_back()

    def _roll_back(self) -> None:
        if (transaction := self.take()) is not None:
            transaction.roll_back()


class TransactionBlock:
    """The block of a step's transaction: `async with` in an async step, `with` in a sync one."""

    def __init__(self, attempt: OpenAttempt) -> None:
        self._attempt = attempt

    async def __aenter__(self) -> AsyncConnection[TupleRow]:
        """Return the connection, in its transaction."""
        connection: AsyncConnection[TupleRow] = await self._attempt.begin()
        return connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the use of the connection; an exception rolls the transaction back."""
        self._attempt.leave(failed=kind is not None)

    def __enter__(self) -> Connection[TupleRow]:
        """Return the connection, in its transaction."""
        connection: Connection[TupleRow] = self._attempt.begin_in_thread()
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the use of the connection; an exception rolls the transaction back."""
        self._attempt.leave(failed=kind is not None)
