from __future__ import annotations

from uuid import UUID

from zart_scheduler.ownership import find_ghosts, find_strays
from zart_scheduler.store.tasks import Owned

A, B, C = (UUID(int=n) for n in range(3))


def test_what_is_owned_and_not_known_by_that_epoch_is_a_stray() -> None:
    owned = [Owned(A, 1), Owned(B, 2), Owned(C, 3)]
    assert find_strays(owned, {str(A): 1, str(B): 1}) == [Owned(B, 2), Owned(C, 3)]


def test_what_is_known_and_not_owned_by_that_epoch_is_a_ghost() -> None:
    assert find_ghosts([Owned(A, 1), Owned(B, 2)], {str(A): 1, str(B): 1, str(C): 7}) == {
        str(B): 1,
        str(C): 7,
    }
