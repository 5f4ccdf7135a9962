"""Globs of step names -> PostgreSQL's regular expressions, so that names are matched where the records are. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from zart_core import UsageError

_SPECIAL = frozenset("\\.^$*+?()[]{}|")
_SET = re.compile(r"\[(!?)(\]?[^\]]*)\]")


def patterns(what: str, globs: str | Iterable[str] | None) -> list[str] | None:
    """Return one expression for each glob; `*`, `?`, `[abc]`, `[a-z]` and `[!abc]` are special.

    Raises:
        UsageError: One is no text, or empty.
    """
    if globs is None:
        return None
    found = [globs] if isinstance(globs, str) else list(globs)
    for glob in found:
        if not isinstance(glob, str) or not glob or "\0" in glob:
            raise UsageError(
                f"{what} takes names of steps, in which * and ? may stand for others, not {glob!r}"
            )
    return [_pattern(glob) for glob in found]


def _pattern(glob: str) -> str:
    parts, at = ["^"], 0
    while at < len(glob):
        if glob[at] == "[" and (found := _SET.match(glob, at)):
            inside = re.sub(r"([\\\[\]^])", r"\\\1", found[2])
            parts.append(f"[{'^' if found[1] else ''}{inside}]")
            at = found.end()
            continue
        parts.append({"*": ".*", "?": "."}.get(glob[at]) or _literal(glob[at]))
        at += 1
    return "".join(parts) + "$"


def _literal(character: str) -> str:
    if character in _SPECIAL:
        return f"\\{character}"
    return character
