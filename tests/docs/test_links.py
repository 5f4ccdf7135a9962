"""What the pages point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.markdown import PAGES, ROOT, anchors, codes, links, name_of, read

LINKING = (
    *PAGES,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")),
    *ROOT.glob("packages/*/README.md"),
    *ROOT.glob("examples/*/README.md"),
)


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for target in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        if not place.exists() or (anchor and anchor not in anchors(place.read_text(encoding="utf-8"))):
            lost.append(target)
    assert not lost


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = (
            target.partition("#")[0]
            for target in links(page.read_text(encoding="utf-8"))
            if ":" not in target
        )
        waiting += [place for t in targets if t and (place := (page.parent / t).resolve()).is_file()]
    assert set(PAGES) <= seen


def test_guarantees_name_tests_that_there_are() -> None:
    missing, source = [], ""
    for code in codes(read("docs/reference/guarantees.md")):
        if code.endswith(".py") and "/" in code:
            source = (ROOT / code).read_text(encoding="utf-8") if (ROOT / code).is_file() else ""
            missing += [] if source else [code]
        elif code.startswith("test_") and f"def {code}(" not in source:
            missing.append(code)
    assert not missing
