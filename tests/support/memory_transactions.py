"""Transactions of steps on the host in memory: what is written counts from the commit on, together with the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zart_core.items import RecordItem

if TYPE_CHECKING:
    from tests.support.memory_host import MemoryHost


class MemoryConnection:
    """Takes effects, while its block lasts."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.is_over = False

    def write(self, effect: Any) -> None:
        assert not self.is_over, "the block is over"
        self.written.append(effect)


class Excused(Exception):
    """What the database is to blame for."""


class MemoryTransaction:
    """See `zart_core.host.StepTransaction`."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self.connection = MemoryConnection()
        host.transactions.append(self)
        self.end: str | None = None
        """How it ended: committed, rolled back, or refused."""

    def leave(self) -> None:
        self.connection.is_over = True

    def excuses(self, error: BaseException) -> bool:
        return isinstance(error, Excused)

    def roll_back(self) -> None:
        self.connection.is_over = True
        self.end = self.end or "rolled back"

    def commit(self, item: RecordItem) -> None:
        self.connection.is_over = True
        self._host.later(self._decide, item)

    def _decide(self, item: RecordItem) -> None:
        host = self._host
        if item.run is not host.run:
            self.end, answer = "refused", item.run.lost
        elif host.next_commits and (error := host.next_commits.pop(0)) is not None:
            self.end = "rolled back"
            answer = self._not_committed(item, error)
        else:
            host.store.commit(item, host.loop.time())
            host.store.effects.extend(self.connection.written)
            self.end = "committed"
            answer = self._committed(item)
        host.after_commit(answer)

    def _committed(self, item: RecordItem) -> Any:
        def tell() -> None:
            run = item.run
            if run.gone is None:
                run.answered(item)
                run.recorded(item)
                run.advance()
                self._host.after_flush(item)

        return tell

    def _not_committed(self, item: RecordItem, error: Exception) -> Any:
        def tell() -> None:
            run = item.run
            if run.gone is not None:
                return
            run.answered(item)
            if isinstance(error, Excused):
                run.attempts.rolled_back(item)
            else:
                run.attempts.refused(item, error)
            run.advance()

        return tell
