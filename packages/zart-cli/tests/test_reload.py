import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from zart_cli.reload import Watch, folders_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_a_changed_file_is_found_once(folder: Path) -> None:
    file = folder / "watched_a.py"
    file.write_text("x = 1")
    watch = Watch([folder], folder)
    assert watch.look() is None
    file.write_text("x = 22")
    assert watch.look() == file
    assert watch.look() is None


def test_new_and_removed_files_beside_the_modules_count(folder: Path) -> None:
    watch = Watch([folder], folder)
    file = folder / "watched_b.py"
    file.touch()
    assert watch.look() == file
    file.unlink()
    assert watch.look() == file


def test_importing_a_module_later_is_no_change_but_changing_it_is(folder: Path) -> None:
    package = folder / "watched_c"
    package.mkdir()
    file = package / "__init__.py"
    file.write_text("x = 1")
    watch = Watch([], folder)
    import_module("watched_c")
    assert watch.look() is None
    os.utime(file, (1, 1))
    assert watch.look() == file


def test_what_is_installed_does_not_count(folder: Path) -> None:
    package = folder / ".venv" / "lib"
    package.mkdir(parents=True)
    (package / "watched_d.py").write_text("x = 1")
    sys.path.insert(0, str(package))
    watch = Watch([], folder)
    import_module("watched_d")
    watch.look()
    os.utime(package / "watched_d.py", (1, 1))
    assert watch.look() is None


def test_folders_are_found_without_importing(folder: Path) -> None:
    (folder / "flows").mkdir()
    (folder / "single.py").write_text("1 / 0")
    (folder / "flows" / "orders.py").write_text("1 / 0")
    names = ["flows.orders", "flows", "single", "flows/orders.py", "not_here"]
    assert folders_of(names, folder) == [folder / "flows", folder]
