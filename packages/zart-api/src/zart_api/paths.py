"""Ids in URLs: each segment of a path stands for one whole value, whatever characters the value has. Pure.

ASGI hands over a decoded path, in which the `/` of an id cannot be told from a separator. So the path is rebuilt from
the raw one with `%` and `/` inside a segment still encoded; routing then sees one segment per value, and
`decoded_segment` gives the value back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote


def route_path(scope: Mapping[str, Any]) -> str:
    """Return the path to route by, with `%` and `/` inside segments encoded below the mount point."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    raw = scope.get("raw_path")
    encoded = raw.decode("ascii", "replace").partition("?")[0] if raw else ""
    if unquote(encoded) != path:  # no raw path, or someone rewrote the other: its slashes are separators
        return root + _below(path, root).replace("%", "%25")
    return root + "/".join(_segment(part) for part in _encoded_below(encoded, root).split("/"))


def decoded_segment(segment: str) -> str:
    """Return the value that a segment of `route_path` stands for."""
    return segment.replace("%2F", "/").replace("%25", "%")


def encoded_segment(value: str) -> str:
    """Return `value` as one segment of a URL."""
    return quote(value, safe="")


def instance(scope: Mapping[str, Any]) -> str:
    """Return the path as the client sent it, without the query: what a problem calls its instance."""
    raw = scope.get("raw_path")
    return raw.decode("ascii", "replace").partition("?")[0] if raw else quote(str(scope["path"]))


def _segment(encoded: str) -> str:
    return unquote(encoded).replace("%", "%25").replace("/", "%2F")


def _below(path: str, root: str) -> str:
    return path[len(root) :] if root and path.startswith(root) else path


def _encoded_below(encoded: str, root: str) -> str:
    """Return what follows the mount point in a path that is still encoded."""
    if not root or not unquote(encoded).startswith(root):
        return encoded
    ends = [at for at, character in enumerate(encoded) if character == "/"] + [len(encoded)]
    return next((encoded[at:] for at in ends if unquote(encoded[:at]) == root), encoded)
