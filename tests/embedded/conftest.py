"""A directory for an embedded server, which is stopped and removed after the test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zart_scheduler import embedded
from zart_scheduler.embedded.layout import Layout


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZART_STATE_DIR", "ZART_PG_BINDIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place() -> Iterator[Path]:
    # Not tmp_path: that one is closed to all but us, and as root the server's user is someone else.
    top = Path(tempfile.mkdtemp(prefix="zart-place-", dir="/tmp"))
    top.chmod(0o755)
    yield top
    for directory in [top, *(path for path in top.rglob("*") if path.is_dir())]:
        if (directory / "server.lock").exists():
            embedded.stop(directory)
            shutil.rmtree(Layout(directory).socket_directory, ignore_errors=True)
    shutil.rmtree(top)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
