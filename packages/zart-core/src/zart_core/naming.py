"""How people name one call of a run: `charge`, `charge#2`, `charge#=order-7`, or with its scope `.0:charge#2`. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from zart_core.identity import Identity


def matches(text: str, known: Iterable[str]) -> list[str]:
    """Return the identities among `known` that `text` may stand for; one that is written in full stands for itself."""
    everything = list(known)
    if text in everything:
        return [text]
    return [identity for identity in everything if text in _forms(identity)]


def shortest(identities: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return for each of `identities` the shortest name that stands for it alone, among them and the `known` ones."""
    wanted = list(identities)
    counts = Counter(form for identity in {*known, *wanted} for form in _forms(identity))
    return [next((form for form in _forms(identity) if counts[form] == 1), identity) for identity in wanted]


def _forms(identity: str) -> Iterator[str]:
    """Yield the ways to write `identity`, the shortest first. Numbers count from 0, as in the records."""
    parts = Identity.parse(identity)
    tails = [f"#{parts.occurrence}"] if parts.key is None else [f"#={parts.key}", f"[{parts.key}]"]
    named = [parts.name, *(f"{parts.name}{tail}" for tail in tails)]
    yield from named
    yield from (f"{parts.scope}:{form}" for form in named)
