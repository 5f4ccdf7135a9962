"""What the command's exit status means. A contract: scripts compare with these numbers."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status of `zart`."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    CHECK_FAILED = 3
    NOT_FOUND = 4
    CONFLICT = 5
    UNREACHABLE = 6
    UNAUTHORISED = 7
    RUN_FAILED = 10
    RUN_CANCELLED = 11
    RUN_BLOCKED = 12
    WAIT_TIMED_OUT = 124
    INTERRUPTED = 130
