"""Which files a program is made of, and whether they have changed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from zart_cli.sources import is_path

Stamps = dict[Path, tuple[int, int]]

_EVERY = 0.4
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}", f"{os.sep}.venv{os.sep}")


class Watch:
    """The user's own files: all beside the modules that were named, and every loaded module below those or `base`.

    Made before the modules are imported, so that no change falls between.
    """

    def __init__(self, beside: Iterable[Path], base: Path) -> None:
        self._beside = tuple(beside)
        self._below = tuple(f"{folder}{os.sep}" for folder in {base, *self._beside})
        self._loaded: set[Path] = set()
        self._modules = 0
        self._before = self._stamps()

    async def changed(self) -> Path:
        """Wait until a file is changed, added or removed, and return it."""
        while True:
            if (path := self.look()) is not None:
                return path
            await asyncio.sleep(_EVERY)

    def look(self) -> Path | None:
        """Return a file that has changed since the last look."""
        self._meet_modules()
        before, self._before = self._before, self._stamps()
        paths = before.keys() | self._before.keys()
        return next((path for path in sorted(paths) if before.get(path) != self._before.get(path)), None)

    def _meet_modules(self) -> None:
        """Watch what was imported meanwhile: being imported is no change."""
        if len(sys.modules) == self._modules:
            return
        self._modules = len(sys.modules)
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        self._loaded |= {Path(file) for file in files if isinstance(file, str) and self._is_own(file)}
        for path in self._loaded - self._before.keys():
            self._before.update(_stamp(path))

    def _stamps(self) -> Stamps:
        paths = self._loaded.union(*(folder.glob("*.py") for folder in self._beside))
        return {path: stamp for found in map(_stamp, paths) for path, stamp in found.items()}

    def _is_own(self, file: str) -> bool:
        return file.startswith(self._below) and not any(part in file for part in _INSTALLED)


def _stamp(path: Path) -> Stamps:
    try:
        facts = path.stat()
    except OSError:
        return {}
    return {path: (facts.st_mtime_ns, facts.st_size)}


def folders_of(names: Sequence[str], base: Path) -> list[Path]:
    """Return the directories of modules named on the command line, found without importing them."""
    found = [_folder_of(name, base) for name in names]
    return list(dict.fromkeys(folder for folder in found if folder is not None))


def _folder_of(name: str, base: Path) -> Path | None:
    if is_path(name):
        return (base / name).resolve().parent
    place = base.joinpath(*name.split("."))
    if place.is_dir():
        return place
    return place.parent if place.with_suffix(".py").is_file() else None
