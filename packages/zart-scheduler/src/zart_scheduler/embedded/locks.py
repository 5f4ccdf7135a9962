"""Locks kept by the kernel: they end with their holders, however those end."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(path: Path) -> Iterator[int]:
    """Hold the lock on `path`, waiting for it, and give its descriptor.

    A descriptor handed to a child keeps the lock for as long as the child or any of its own children lives:
    leaving the block closes ours and does not unlock theirs.
    """
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tell whether any process holds the lock on `path` now."""
    # Shared, so that two who ask at once do not take each other for a holder.
    try:
        descriptor = _open(path)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    owner = path.parent.stat()
    if os.geteuid() == 0 and os.fstat(descriptor).st_uid != owner.st_uid:
        # Root must not lock a user out of the user's own directory.
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor
