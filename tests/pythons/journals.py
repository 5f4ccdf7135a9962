"""Journals that one Python writes and another reads: every shape of test_shapes.py, complete and half done.

python -m tests.pythons.journals write FILE
python -m tests.pythons.journals read FILE      exits 1 and says what another Python makes of it, if it is not the same
"""

from __future__ import annotations

import dataclasses
import enum
import pickle
import random
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel
from tests.engine.living import Body, Life, ledger, live, started
from tests.engine.test_shapes import SHAPES
from tests.support.memory_host import MemoryHost
from tests.support.memory_store import MemoryStore

from zart_core import Step
from zart_core.items import Item
from zart_core.journal import Record

Files = dict[str, tuple[Any, dict[str, Any], dict[str, Any]]]
"""By shape: what the body returned, and what the store held at its end and half-way there."""


class Point(NamedTuple):
    x: int
    y: float


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


class Goods(BaseModel):
    price: Decimal
    at: datetime
    colour: Colour = Colour.RED
    tags: set[str] = set()


@dataclass
class Parcel:
    items: list[Goods]
    id: UUID
    wait: timedelta = timedelta(hours=1)


async def _take(*args: Any) -> str:
    ledger.append("take")
    return f"{len(args)} {random.random()}"


async def _take_parcel(parcel: Parcel, colour: Colour, size: Size, rest: Any, where: PurePosixPath) -> str:
    return await _take(parcel, colour, size, rest, where)


async def _break(code: int) -> None:
    ledger.append("break")
    if code == 1:
        raise ExceptionGroup("two", [ValueError(f"one {random.random()}"), KeyError("two")])
    if code == 2:
        raise FileNotFoundError(2, "No such file", "x.txt")
    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")


take: Step[..., str] = Step(_take_parcel, "take")
break_: Step[[int], None] = Step(_break, "break")


async def rich_arguments() -> Any:
    item = Goods(price=Decimal("1.10"), at=datetime(2026, 1, 1, tzinfo=UTC), tags={"b", "a", "c"})
    parcel = Parcel([item, item], UUID(int=7))
    rest = {"point": Point(1, 2.5), "day": date(2026, 1, 1), "bytes": b"\xff", "set": {3, 1, 2}, 5: None}
    taken = [
        await take(parcel, Colour.RED, Size.SMALL, rest, PurePosixPath("a/b")),
        await take(parcel, Colour.RED, Size.SMALL, object(), PurePosixPath("a/b")),
    ]
    return [*taken, await take(parcel, Colour.RED, Size.SMALL, None, PurePosixPath("c"))]


async def exceptions() -> Any:
    seen: list[str] = []
    for code in (1, 2, 3):
        try:
            await break_(code)
        except ExceptionGroup as group:
            seen += [repr(error) for error in group.exceptions]
        except (OSError, UnicodeDecodeError) as error:
            seen.append(repr(error))
    return seen


BODIES: list[Body] = [*SHAPES, rich_arguments, exceptions]


def write(path: Path) -> None:
    """Run each shape and write its journals."""
    found: Files = {}
    for body in BODIES:
        whole = live(body)
        found[body.__name__] = (whole.value, _frozen(whole.store), _half(body, len(whole.records) // 2))
    path.write_bytes(pickle.dumps(found))


def _half(body: Body, records: int) -> dict[str, Any]:
    """Return what the store of another run holds when that many outcomes are recorded."""
    seen: list[dict[str, Any]] = []

    async def watch(host: MemoryHost) -> None:
        def look(_: Item) -> None:
            if len(host.records) >= records and not seen:
                seen.append(_frozen(host.store.copy()))

        host.after_flush = look

    live(body, script=watch)
    return seen[0]


def read(path: Path) -> list[str]:
    """Replay each journal and return what is wrong."""
    found: Files = pickle.loads(path.read_bytes())
    assert found.keys() == {body.__name__ for body in BODIES}
    wrong: list[str] = []
    for body in BODIES:
        value, complete, half = found[body.__name__]
        replayed = live(body, store=_thawed(complete))
        wrong += [f"{body.__name__}, complete: {problem}" for problem in _problems_of(replayed, value)]
        finished = live(body, store=_thawed(half))
        wrong += [
            f"{body.__name__}, half: {problem}" for problem in _problems_of_half(finished, half, complete)
        ]
    return wrong


def _problems_of(replayed: Life, value: Any) -> list[str]:
    if replayed.state != "completed":
        return [f"it is {replayed.state}: {replayed.payload!r}"]
    return [
        problem
        for problem, is_so in {
            f"returned {replayed.value}, not {value}": replayed.value != value,
            f"began {started}": bool(started),
            f"did {ledger}": bool(ledger),
        }.items()
        if is_so
    ]


def _problems_of_half(finished: Life, half: dict[str, Any], complete: dict[str, Any]) -> list[str]:
    if finished.state != "completed":
        return [f"it is {finished.state}: {finished.payload!r}"]
    before, after = _thawed(half).records, finished.records
    kept = {identity: after[identity].payload for identity, record in before.items()}
    return [
        problem
        for problem, is_so in {
            f"recorded {sorted(after)}": after.keys() != _thawed(complete).records.keys(),
            "changed a record": kept != {identity: record.payload for identity, record in before.items()},
            f"began {started}, of which some were recorded": not before.keys().isdisjoint(started),
        }.items()
        if is_so
    ]


def _frozen(store: MemoryStore) -> dict[str, Any]:
    """Return what a database would hold of it: no decoded values."""
    records = [dataclasses.replace(record, value=None) for record in store.records.values()]
    return vars(store) | {"records": records, "ending": None}


def _thawed(frozen: dict[str, Any]) -> MemoryStore:
    stored = [field.name for field in dataclasses.fields(Record) if field.name != "value"]
    records = [Record(**{name: getattr(record, name) for name in stored}) for record in frozen["records"]]
    return MemoryStore(**frozen | {"records": {record.identity: record for record in records}}).copy()


def main() -> None:
    verb, path = sys.argv[1:]
    if verb == "write":
        write(Path(path))
    elif wrong := read(Path(path)):
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
