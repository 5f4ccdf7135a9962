"""Every command and program in the documentation runs as printed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.elsewhere import ELSEWHERE, SHOWN
from tests.docs.markdown import PAGES, blocks, name_of
from tests.docs.reader import Reader

RUN = ("console", "python", "sh", "sql")


def _with_what_it_needs(page: Path) -> object:
    needs = [pytest.mark.needs("curl")] if any("curl " in block.text for block in blocks(page)) else []
    return pytest.param(page, marks=needs, id=name_of(page))


TO_FOLLOW = [
    _with_what_it_needs(page) for page in PAGES if any(block.language in RUN for block in blocks(page))
]


@pytest.mark.parametrize("page", TO_FOLLOW)
def test_a_page_can_be_followed_as_printed(page: Path, reader: Reader) -> None:
    for block in blocks(page):
        if block.language in RUN and block.text not in ELSEWHERE:
            reader.do(block)
    reader.finish()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: Path) -> None:
    strange = [block.where for block in blocks(page) if block.language not in {*RUN, *SHOWN}]
    assert not strange


def test_what_is_checked_elsewhere_is_printed_somewhere() -> None:
    printed = {block.text for page in PAGES for block in blocks(page)}
    assert ELSEWHERE.keys() <= printed
