"""The file that tells others, such as a container's health check, that this process is ready."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zart_core.errors import ConfigurationError


class ReadyFile:
    """`path` exists only while the process is ready; it holds the process id. None means that nobody asked."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def write(self) -> None:
        """Make the file at once whole: it is written aside and renamed."""
        if self._path is None:
            return
        aside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            aside.write_text(f"{os.getpid()}\n", encoding="ascii")
            aside.replace(self._path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise _not_writable(self._path, error) from None

    def remove(self) -> None:
        """Remove the file if it is there."""
        if self._path is not None:
            try:
                self._path.unlink(missing_ok=True)
            except OSError as error:
                raise _not_writable(self._path, error) from None


@contextmanager
def ready_file(path: Path | None) -> Iterator[ReadyFile]:
    """Give the file to write when ready: what a killed process left is gone before, and it is gone after.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    if path is not None and not path.parent.is_dir():
        raise ConfigurationError(f"cannot write --ready-file {path}: there is no directory {path.parent}")
    file = ReadyFile(path)
    file.remove()
    try:
        yield file
    finally:
        file.remove()


def _not_writable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"cannot write --ready-file {path}: {error.strerror}")
