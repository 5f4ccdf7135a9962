"""Where a decorator stands: the names that the annotations of the function may use."""

from __future__ import annotations

from types import FrameType
from typing import Any


def local_names(frame: FrameType) -> dict[str, Any] | None:
    """Return the local names of `frame`, or None at module level, where the function's globals are the same.

    A class that is defined inside a function, as tests do, is found by annotations only through them.
    """
    return None if frame.f_locals is frame.f_globals else dict(frame.f_locals)
