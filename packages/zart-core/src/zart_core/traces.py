"""The text of a traceback, cut down to the users' own frames."""

from __future__ import annotations

from traceback import TracebackException
from types import TracebackType
from typing import Final

from zart_core.errors import ZartError

MAX_TRACEBACK: Final = 64 * 1024

_ENGINE: Final = frozenset(
    [
        "zart_core",
        "zart_decorators",
        "zart_scheduler",
        "zart_cli",
        "zart_api",
        "asyncio",
        "concurrent",
        "threading",
    ]
)


def traceback_text(error: BaseException) -> str:
    """Return the traceback as Python prints it, from the first frame that is not the engine's on; at most 64 Ki."""
    try:
        shown = TracebackException(type(error), error, _from_user(error), compact=True)
        text = "".join(shown.format())
    except Exception:  # users' classes may do anything
        return ""
    if len(text) <= MAX_TRACEBACK:
        return text
    cut = "\n... cut ...\n"
    half = (MAX_TRACEBACK - len(cut)) // 2
    return text[:half] + cut + text[-half:]


def _from_user(error: BaseException) -> TracebackType | None:
    trace = error.__traceback__
    while trace is not None and _is_engine(trace):
        trace = trace.tb_next
    if trace is None and not isinstance(error, ZartError):
        return error.__traceback__  # all of it is the engine's: a defect, and then every frame counts
    return trace


def _is_engine(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] in _ENGINE
