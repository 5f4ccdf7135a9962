"""The gateway's ledger: one JSON line for every call it got, on the disk before the caller hears of it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self


class Outcome(StrEnum):
    """What became of a call."""

    CHARGED = "charged"
    REPEATED = "repeated"  # its key was known: answered as before, nothing charged
    DECLINED = "declined"
    UNAVAILABLE = "unavailable"
    CONFLICT = "conflict"  # its key is known for another charge


@dataclass(frozen=True, slots=True)
class Entry:
    """One call. `attempt` counts the calls for its order from 1; `time` is ISO 8601 in UTC."""

    time: str
    order_id: str
    amount: float
    key: str
    attempt: int
    outcome: Outcome
    transaction_id: str | None = None
    reason: str | None = None


class Ledger:
    """An append-only file. One process writes it, by one thread at a time; anyone may read it."""

    def __init__(self, path: Path) -> None:
        _drop_unfinished_line(path)
        self._file = path.open("a", encoding="utf-8")

    def append(self, entry: Entry) -> None:
        """Write `entry`; it is on the disk when this returns."""
        self._file.write(json.dumps(asdict(entry)) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _drop_unfinished_line(path: Path) -> None:
    """Cut off what a killed writer had begun: nobody heard of that call."""
    if path.exists():
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)


def read_ledger(path: Path) -> list[Entry]:
    """Return all entries, oldest first; a line still being written is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return [Entry(**{**entry, "outcome": Outcome(entry["outcome"])}) for entry in entries]
