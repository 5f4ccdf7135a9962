"""What a run has recorded, by identity. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Kind(Enum):
    """What sort of call a record belongs to; the value is how it is stored."""

    STEP = "s"
    CAPTURE = "c"
    SLEEP = "z"
    EVENT = "w"
    SAGA = "g"
    CHILD = "k"
    STATE = "v"
    SPAWN = "p"

    @property
    def label(self) -> str:
        """The word people read."""
        return self.name.lower()

    @property
    def with_article(self) -> str:
        """The word people read, as "a step"."""
        return f"{'an' if self is Kind.EVENT else 'a'} {self.label}"


class Outcome(Enum):
    """How a call ended; the value is how it is stored.

    `CANCELLED` was given up by the body itself and is never delivered; `CANCELLED_ELSEWHERE` is.
    """

    OK = "o"
    ERROR = "e"
    TIMEOUT = "t"
    CANCELLED = "c"
    """By the body itself, before it had an outcome: it is never delivered."""
    CANCELLED_ELSEWHERE = "x"
    """What was to bring the outcome was cancelled; the body receives that as an error."""


class _Unset:
    """Marks a record whose value was not decoded yet."""


UNSET = _Unset()


@dataclass(slots=True)
class Record:
    """The recorded outcome of one call. `sequence` is its place among all calls that its run had made.

    `turn` is its place in the run's one order (L11); without one it has not come yet, or nobody gave it a turn, and
    a body never sees it. `value` is what `payload` decodes to, if that is known already.
    """

    identity: str
    kind: Kind
    outcome: Outcome
    turn: int | None
    payload: bytes | None
    args_hash: bytes | None = None
    attempt: int = 1
    sequence: int = 0
    value: Any = field(default=UNSET, compare=False)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What is recorded of a step that has no outcome yet.

    `failed` counts its failed attempts. `due_at` is when the next may start and `deadline_at` when the step times
    out, in seconds of the host loop's monotonic clock, reckoned from what the database said is left (L8). `heartbeat`
    holds the latest details of an attempt. `is_last`: a person has granted one more attempt, whatever the policy says.
    """

    identity: str
    failed: int
    due_at: float | None
    deadline_at: float | None
    heartbeat: bytes | None = None
    is_last: bool = False


class Journal:
    """The records of one run. Those that it begins with are *unmet* until a call of today's code asks for them.

    `accepted` are the calls that a person has vouched for (L10).
    """

    __slots__ = ("_attempts", "_prefixes", "_queues", "_records", "_unmet", "accepted")

    def __init__(
        self,
        records: Iterable[Record] = (),
        attempts: Iterable[AttemptRecord] = (),
        accepted: frozenset[str] = frozenset(),
    ) -> None:
        self.accepted = accepted
        self._queues: dict[str, deque[str]] | None = None
        self._records: dict[str, Record] = {}
        self._prefixes: dict[str, int] = {}
        self._attempts = {attempt.identity: attempt for attempt in attempts}
        for record in records:
            self.add(record)
        self._unmet = dict.fromkeys(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def find(self, identity: str) -> Record | None:
        """Return the record of that identity, if there is one."""
        return self._records.get(identity)

    def attempts(self, identity: str) -> AttemptRecord | None:
        """Return what is recorded of a step that has no outcome yet."""
        return self._attempts.get(identity)

    def add(self, record: Record) -> None:
        """Enter `record`, in place of one of the same identity."""
        if record.identity not in self._records:
            prefix = record.identity[: record.identity.rindex("#") + 1] if "#=" not in record.identity else ""
            self._prefixes[prefix] = self._prefixes.get(prefix, 0) + 1
        self._records[record.identity] = record

    def identities(self) -> list[str]:
        """Return the identities of all records."""
        return list(self._records)

    def meet(self, identity: str) -> None:
        """Take note that a call has asked for the record."""
        self._unmet.pop(identity, None)

    @property
    def has_unmet(self) -> bool:
        """Whether no call has asked for some of the records yet."""
        return bool(self._unmet)

    def is_unmet(self, identity: str) -> bool:
        """Return whether it is a record that no call has asked for yet."""
        return identity in self._unmet

    def unmet(self) -> list[str]:
        """Return the records that no call has asked for, in the order in which their calls were made."""
        return sorted(self._unmet, key=self._place)

    def unmet_in(self, path: str) -> Iterator[Record]:
        """Yield the unmet records of the scope `path`, in the order in which their calls were made."""
        if self._queues is None:
            self._queues = {}
            for identity in self.unmet():
                self._queues.setdefault(identity.partition(":")[0], deque()).append(identity)
        queue = self._queues.get(path, deque())
        while queue and queue[0] not in self._unmet:
            queue.popleft()
        return (self._records[identity] for identity in queue if identity in self._unmet)

    def _place(self, identity: str) -> tuple[int, str]:
        return self._records[identity].sequence, identity

    def note_attempt(self, attempt: AttemptRecord) -> None:
        """Enter what is now recorded of a step without an outcome."""
        self._attempts[attempt.identity] = attempt

    def is_inferred(self, prefix: str) -> bool:
        """Return whether several records share `prefix` (scope and name), so that position alone tells them apart."""
        return self._prefixes.get(prefix, 0) > 1
