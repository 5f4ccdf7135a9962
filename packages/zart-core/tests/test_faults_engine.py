"""The engine's own errors are recorded and restored like any other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from zart_core import errors
from zart_core.errors import ZartError
from zart_core.faults import record, restore
from zart_core.records import DivergenceDetails, Failure, RecordedCall, Remedy

DETAILS = DivergenceDetails(
    "ZART-D001",
    "it changed",
    "a deploy",
    RecordedCall("x", ".0", ".0:x#1", "step", "ok", "ab", datetime(2030, 1, 31, tzinfo=UTC), "w"),
    None,
    [Remedy("zart runs unblock x", "try again")],
)


def facts(cls: type[ZartError]) -> tuple[Any, ...]:
    known: dict[str, Any] = {
        "calls": [("charge", "a.py:1")],
        "column": 1,
        "details": DETAILS,
        "divergence": DETAILS,
        "crashes": 5,
        "failure": Failure("error", "ValueError", "m", "trace"),
        "found": None,
        "known": ("a",),
        "limit": 1,
        "seconds": 1.5,
        "size": 2,
    }
    code = cls.__init__.__code__
    names = code.co_varnames[1 : code.co_argcount]
    return tuple(known.get(name, name) for name in names) or ("something happened",)


ENGINE = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, ZartError)]


@pytest.mark.parametrize("cls", ENGINE, ids=lambda cls: cls.__name__)
def test_the_engines_own_errors_come_back_with_their_facts(cls: type[ZartError]) -> None:
    error = cls(*facts(cls))
    restored = restore(record(error))
    assert type(restored) is cls
    assert (str(restored), restored.args, vars(restored)) == (str(error), error.args, vars(error))
    assert isinstance(restored, TimeoutError) == issubclass(cls, TimeoutError)
