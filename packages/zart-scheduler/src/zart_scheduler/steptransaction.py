"""One transaction of one attempt of a step: lent to the step's code, then committed with its record, or rolled back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.pq import PipelineStatus, TransactionStatus

from zart_core import UsageError
from zart_core.spi import OutcomeItem, RecordItem, reach
from zart_scheduler.checkpoint import ANSWER, CONNECTION_LOST, RETRYABLE
from zart_scheduler.flush import compose_outcome
from zart_scheduler.lent import LentAsyncConnection, LentConnection
from zart_scheduler.store import transactions

if TYPE_CHECKING:
    from zart_scheduler.steptransactions import StepTransactions

AGAIN = 0.05
"""Seconds before the fate of a commit is asked for again."""

_UNFINISHED = (
    "the step returned while its transaction was still in use: a statement, a pipeline or the block itself had not "
    "ended; wait for everything inside the block"
)
_FAILED = (
    "a statement of the step's transaction failed and the step returned all the same, so that nothing of it can "
    "commit: let the error out, or put what may fail into `async with conn.transaction()`, a savepoint"
)
_ENDED = (
    "the step has ended its transaction itself (by COMMIT or ROLLBACK as SQL), so that its record cannot be part of "
    "it: leave that to the step's return"
)


class Verdict(Enum):
    """What became of a commit."""

    COMMITTED = auto()
    ROLLED_BACK = auto()
    FENCED = auto()
    LOST = auto()
    STORED = auto()


Answer = Verdict | Exception
"""An exception is the step's own fault: nothing was committed."""

_REFUSALS: dict[str | None, Answer] = {
    transactions.FENCED: Verdict.FENCED,
    transactions.LOST: Verdict.LOST,
    transactions.STORED: Verdict.STORED,
    transactions.ANOTHER: UsageError(_ENDED),
}


class Transaction:
    """See `zart_core.host.StepTransaction`."""

    def __init__(
        self, home: StepTransactions, owner: AsyncConnection[Any], xact: str, *, is_async: bool
    ) -> None:
        self._home, self._owner, self._xact = home, owner, xact
        self.connection = (LentAsyncConnection if is_async else LentConnection)(owner.pgconn)
        self._in_block = True
        self._is_done = self._was_lost = self._is_detached = False

    # -- for the step's code

    def leave(self) -> None:
        """Let the step's code use the connection no more; from any thread."""
        self.connection.is_over = True
        self._in_block = False
        if self._is_detached:
            self._owner.pgconn.finish()

    # -- for the engine

    def excuses(self, error: BaseException) -> bool:
        """Return whether the database or the network is to blame for `error`, and not the step."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, errors.IdleInTransactionSessionTimeout):
                return False  # the server's settings do not let a step take that long, and never will
            if isinstance(cause, errors.DeadlockDetected | errors.SerializationFailure):
                return True
            cause = cause.__cause__
        return self._was_lost or (not self._is_done and self._owner.closed)

    def roll_back(self) -> None:
        """Give it up."""
        if not self._is_done:
            self._was_lost = self._owner.closed
            self._end()
            self._home.do(self._dispose())

    def commit(self, item: OutcomeItem) -> None:
        """Record `item` and commit, and answer the run."""
        self._end()
        self._home.do(self._home.answer(item, self._commit(item)))

    def _end(self) -> None:
        self._is_done = True
        self.connection.is_over = True
        self._home.open.discard(self)

    async def _commit(self, item: OutcomeItem) -> Answer:
        fault = self._fault()
        if fault is not None:
            await self._dispose()
            return fault
        reach("before-commit", item.name)
        try:
            async with asyncio.timeout(ANSWER):
                await transactions.record_and_commit(
                    self._owner,
                    self._home.worker_id,
                    self._xact,
                    **compose_outcome(item),
                    patience=self._home.patience,
                )
        except (psycopg.Error, TimeoutError) as error:
            if isinstance(error, TimeoutError) or self._owner.closed:
                await self._home.drop(self._owner)
                return await self._find_fate(item)
            await self._dispose()
            return _judge(error)
        except asyncio.CancelledError:
            await self._home.drop(self._owner)
            raise
        reach("after-commit", item.name)
        self._home.do(self._home.put_back(self._owner))
        return Verdict.COMMITTED

    def _fault(self) -> Answer | None:
        """Return why it cannot be committed, if that is known before it is tried."""
        if self._owner.closed:
            return Verdict.ROLLED_BACK
        if self._is_busy():
            return UsageError(_UNFINISHED)
        if self._owner.info.transaction_status is TransactionStatus.INERROR:
            return UsageError(_FAILED)
        return None

    def _is_busy(self) -> bool:
        """Whether something that the step has left behind is still at it."""
        status, pipeline = self._owner.info.transaction_status, self._owner.info.pipeline_status
        return self._in_block or status is TransactionStatus.ACTIVE or pipeline is not PipelineStatus.OFF

    async def _find_fate(self, item: OutcomeItem) -> Verdict:
        """Ask what became of a COMMIT that got no answer; what is still open is ended, so that it cannot come later."""
        turn = item.turn if isinstance(item, RecordItem) else None
        question = transactions.find_fate(self._xact, item.run.context.run_id, item.identity, turn)
        while self._home.is_valid():
            with suppress(*CONNECTION_LOST, *RETRYABLE, TimeoutError):
                fate = await self._home.query(question)
                if fate != "open":
                    return Verdict.COMMITTED if fate == "committed" else Verdict.ROLLED_BACK
            await asyncio.sleep(AGAIN)
        return Verdict.FENCED

    async def _dispose(self) -> None:
        """Roll back. What is still in use is ended at the server: a connection must not be closed under its user."""
        if self._owner.closed:
            await self._home.drop(self._owner)
        elif not self._is_busy():
            await self._home.put_back(self._owner)
        else:
            self._home.release()
            self._is_detached = True
            if not self._is_busy():  # its user has left meanwhile, and not seen that
                await self._owner.close()
            with suppress(psycopg.Error, TimeoutError):
                await self._home.query(transactions.end(self._xact))


def _judge(error: Exception) -> Answer:
    """Return what an error says that came from a living connection: nothing is committed."""
    if isinstance(error, (*RETRYABLE, *CONNECTION_LOST)):
        return Verdict.ROLLED_BACK
    return _REFUSALS.get(getattr(error, "sqlstate", None), error)
