"""A step that a person has granted one more attempt has exactly that one, whatever its policy says."""

from __future__ import annotations

import pytest
from tests.engine.living import ledger, live
from tests.support.memory_store import MemoryStore

from zart_core import Step, context
from zart_core.journal import AttemptRecord


class Down(Exception):
    pass


async def _shaky(failures: int) -> int:
    attempt = context().attempt
    assert attempt is not None
    ledger.append(str(attempt))
    if attempt <= failures:
        raise Down("not yet")
    return attempt


shaky: Step[[int], int] = Step(_shaky, "shaky", retry="fixed(100, 1s)")


async def body(failures: int) -> int:
    return await shaky(failures)


def store(*, is_last: bool) -> MemoryStore:
    """A run whose step has failed twice."""
    identity = ":shaky#0"
    return MemoryStore(failures={identity: AttemptRecord(identity, 2, None, None, is_last=is_last)})


def test_the_last_attempt_is_numbered_on_and_may_succeed() -> None:
    assert live(body, 2, store=store(is_last=True)).value == 3
    assert ledger == ["3"]


@pytest.mark.parametrize(("is_last", "attempts"), [(True, ["3"]), (False, ["3", "4", "5"])])
def test_the_last_attempt_is_not_followed_by_another(is_last: bool, attempts: list[str]) -> None:
    life = live(body, 4, store=store(is_last=is_last))
    assert life.state == ("failed" if is_last else "completed")
    assert ledger == attempts
