"""The pages and what is in them: blocks of code, headings, links, tables. No more of Markdown than the pages use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code. `line` is where its first line stands."""

    page: Path
    language: str
    text: str
    line: int

    @property
    def where(self) -> str:
        """Page and line, for messages."""
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    """Return a page's path from the root of the repository."""
    return page.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    """Return the text of a page."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start("text")) + 1
        yield Block(page, found["language"], found["text"], line)


def prose(text: str) -> str:
    """Return a page's text without its blocks."""
    return _FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """Return the names under which the headings of a page can be linked to."""
    titles = (found["title"] for found in _HEADING.finditer(prose(text)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text: str) -> list[str]:
    """Return the targets of all links."""
    return [found["target"] for found in _LINK.finditer(prose(text))]


def sections(text: str, level: int) -> dict[str, str]:
    """Return the text under each heading of one level, by its title without code marks."""
    parts = re.split(rf"^{'#' * level} (.+)$", text, flags=re.MULTILINE)
    return {title.replace("`", ""): body for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def rows(text: str) -> list[list[str]]:
    """Return the cells of all tables' rows, headers and rulers too."""
    lines = (line.strip() for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in lines]


def codes(text: str) -> list[str]:
    """Return what stands between single back quotes."""
    return _CODE.findall(prose(text))
