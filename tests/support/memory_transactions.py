"""Transactions of steps on the host in memory: what is written counts from the commit on, together with the record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zart_core.items import FinishItem, OutcomeItem

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

    def commit(self, item: OutcomeItem) -> None:
        self.connection.is_over = True
        self._host.later(self._decide, item)

    def _decide(self, item: OutcomeItem) -> None:
        host = self._host
        if not self._is_wanted(item):
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

    def _is_wanted(self, item: OutcomeItem) -> bool:
        host = self._host
        if isinstance(item, FinishItem):
            return host.spawned.owns(item.run) and item.identity not in host.records
        return item.run is host.run

    def _committed(self, item: OutcomeItem) -> Any:
        def tell() -> None:
            run = item.run
            if run.gone is None:
                run.answered(item)
                if isinstance(item, FinishItem):
                    item.run.recorded(item)
                else:
                    item.run.recorded(item)
                run.advance()
                self._host.after_flush(item)

        return tell

    def _not_committed(self, item: OutcomeItem, error: Exception) -> Any:
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
