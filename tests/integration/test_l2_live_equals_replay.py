"""L2: what the body receives live is what it receives on replay: values, types, errors with attributes and causes."""

from __future__ import annotations

import pytest
from tests.integration.lives import live
from tests.support import lawful
from tests.support.cluster import Cluster

pytestmark = pytest.mark.anyio


async def test_values_and_errors_are_the_same_live_and_on_replay(cluster: Cluster) -> None:
    straight = await live(cluster, lawful.values, "straight")
    replayed = await live(cluster, lawful.values, "replayed", crash_at="before-complete")

    assert replayed == straight
    names = "Money Point set Colour bytes UUID dict float Refused ExceptionGroup PayloadInvalid"
    assert [seen.split()[0] for seen in straight] == names.split()
    assert straight[0] == "Money " + repr(lawful.Money(amount="1.10", paid="2026-01-02T00:00:00Z"))  # type: ignore[arg-type] # pydantic reads them
    assert "'code': 51" in straight[8]
    assert "['ask again']" in straight[8]
    assert "LookupError('no such card')" in straight[8]


async def test_every_prefix_of_the_journal_leads_to_the_same_end(cluster: Cluster) -> None:
    straight = await live(cluster, lawful.values, "straight")
    for nth in (1, 6, 9, 11):
        assert await live(cluster, lawful.values, f"after-{nth}", crash_at=f"after-commit:#{nth}") == straight
