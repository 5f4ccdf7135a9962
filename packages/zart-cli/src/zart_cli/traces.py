"""Tracebacks as their readers want them: without the frames of the engine. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FRAME = re.compile(r'\s+File "(?P<file>[^"]+)", line \d+')
_ENGINE = re.compile(r"[/\\]zart_(?:core|decorators|scheduler|cli|api)[/\\]")


def without_engine(trace: str) -> str:
    """Return the text of a traceback without the frames that lie in Zart's own packages."""
    return "".join(_kept(trace))


def _kept(trace: str) -> Iterator[str]:
    inside, indent = False, 0
    for line in trace.splitlines(keepends=True):
        depth = len(line) - len(line.lstrip())
        frame = _FRAME.match(line)
        if frame is not None:
            inside, indent = _ENGINE.search(frame["file"]) is not None, depth
        elif inside and depth <= indent and line.strip():
            inside = False
        if not inside:
            yield line
