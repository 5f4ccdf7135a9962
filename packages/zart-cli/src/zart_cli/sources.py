"""Modules named on the command line: found, imported, and if that fails shown as the user's problem that it is."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import typer

from zart_cli.problems import ImportFailed

_OURS = ("zart_cli", "zart_core", "zart_decorators", "zart_scheduler", "zart_api")


def load(names: Sequence[str]) -> list[ModuleType]:
    """Import modules by dotted name or by the path of a `.py` file; the current directory is searched first.

    Raises:
        typer.BadParameter: There is no such module or file.
        ImportFailed: A module raised while it was imported.
    """
    _search_first(Path.cwd())
    return [_load_file(Path(name)) if is_path(name) else _load_module(name) for name in names]


def is_path(name: str) -> bool:
    """Return whether a name on the command line means a file."""
    return name.endswith(".py") or os.sep in name


def dotted_name(path: Path) -> tuple[Path, str]:
    """Return the directory to search and the name under which the file at `path` is imported.

    The packages it lies in count, so that its relative imports work.
    """
    path = path.resolve()
    parts, folder = [path.stem], path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def trimmed_traceback(error: BaseException) -> str:
    """Return the traceback of `error` without the frames of Zart and of the import system."""
    shown = traceback.TracebackException.from_exception(error)
    _trim(shown)
    return "".join(shown.format())


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}", param_hint="MODULE")
    folder, name = dotted_name(path)
    _search_first(folder)
    found = importlib.util.find_spec(name) if "." not in name else None
    if "." in name or (found is not None and found.origin == str(path.resolve())):
        return _load_module(name)
    return _load_alone(path.resolve(), name)


def _load_alone(path: Path, name: str) -> ModuleType:
    """Import a file whose name another module has already taken."""
    name = f"{name}_"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise typer.BadParameter(f"{path} cannot be imported", param_hint="MODULE")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with _explained(str(path)):
        spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise typer.BadParameter(
            f"{name!r} is neither a module's dotted name nor the path of a .py file", param_hint="MODULE"
        )
    with _explained(name):
        return importlib.import_module(name)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Tell a module that is not there from one that fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise typer.BadParameter(
                f"there is no module {name!r}: the current directory, {Path.cwd()}, is searched first, then what is "
                f"installed; a path such as workflows.py works too",
                param_hint="MODULE",
            ) from None
        raise ImportFailed(name, trimmed_traceback(error)) from error
    except SystemExit as error:
        raise ImportFailed(name, trimmed_traceback(error)) from error
    except Exception as error:
        raise ImportFailed(name, trimmed_traceback(error)) from error


def _search_first(folder: Path) -> None:
    text = str(folder)
    while text in sys.path:
        sys.path.remove(text)
    sys.path.insert(0, text)


def _trim(shown: traceback.TracebackException | None) -> None:
    if shown is None:
        return
    kept = [frame for frame in shown.stack if not _is_machinery(frame.filename)]
    shown.stack = traceback.StackSummary.from_list(kept)
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        _trim(other)


def _is_machinery(filename: str) -> bool:
    return filename.startswith(("<frozen importlib", *_machinery()))


@functools.cache
def _machinery() -> tuple[str, ...]:
    """Return where Zart's packages and importlib are."""
    specs = [importlib.util.find_spec(name) for name in ("importlib", *_OURS)]
    return tuple(str(Path(spec.origin).parent) + os.sep for spec in specs if spec is not None and spec.origin)
