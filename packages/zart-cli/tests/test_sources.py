import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from zart_cli import sources
from zart_cli.problems import ImportFailed


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(path: str, text: str = "") -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_module_of_the_current_directory_is_found() -> None:
    write("my_flows_a.py", "x = 1")
    assert sources.load(["my_flows_a"])[0].x == 1


def test_a_module_inside_a_package_is_found_by_its_dotted_name() -> None:
    write("my_pkg_b/__init__.py")
    write("my_pkg_b/flows.py", "x = 2")
    assert sources.load(["my_pkg_b.flows"])[0].x == 2


def test_a_file_is_imported_under_the_name_its_packages_give_it() -> None:
    write("src/my_pkg_c/__init__.py")
    write("src/my_pkg_c/other.py", "x = 3")
    write("src/my_pkg_c/flows.py", "from .other import x")
    (module,) = sources.load([f"src{os.sep}my_pkg_c{os.sep}flows.py"])
    assert module.__name__ == "my_pkg_c.flows"
    assert module.x == 3


def test_a_file_with_the_name_of_a_module_that_is_loaded_already_is_still_imported() -> None:
    write("flows/json.py", "x = 4")
    (module,) = sources.load(["flows/json.py"])
    assert module.x == 4
    assert "json" in sys.modules
    assert not hasattr(sys.modules["json"], "x")


def test_a_module_that_is_not_there_says_where_it_was_looked_for(own_directory: Path) -> None:
    with pytest.raises(typer.BadParameter) as told:
        sources.load(["my_missing.flows"])
    assert "no module 'my_missing.flows'" in told.value.message
    assert str(own_directory) in told.value.message


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(typer.BadParameter, match=r"no file nowhere\.py"):
        sources.load(["nowhere.py"])


@pytest.mark.parametrize("name", ["", "a..b", ".a", "1a", "my-flows"])
def test_a_name_that_cannot_be_a_module_is_refused(name: str) -> None:
    with pytest.raises(typer.BadParameter, match="neither a module's dotted name nor"):
        sources.load([name])


def test_a_module_that_fails_shows_only_its_own_frames() -> None:
    write("my_flows_d.py", "import my_flows_e\n")
    write("my_flows_e.py", "def fail():\n    raise ValueError('mine')\nfail()\n")
    with pytest.raises(ImportFailed) as told:
        sources.load(["my_flows_d"])
    lines = told.value.trace.splitlines()
    frames = [line for line in lines if line.lstrip().startswith("File")]
    assert [Path(frame.split('"')[1]).name for frame in frames] == [
        "my_flows_d.py",
        "my_flows_e.py",
        "my_flows_e.py",
    ]
    assert lines[-1] == "ValueError: mine"


def test_zarts_frames_are_trimmed_too() -> None:
    write("my_flows_f.py", "from zart_core import RetryPolicy, Registry\nRegistry.of(7)\n")
    with pytest.raises(ImportFailed) as told:
        sources.load(["my_flows_f"])
    assert "zart_core/" not in told.value.trace.replace(os.sep, "/")
    assert "Registry.of(7)" in told.value.trace


def test_a_module_that_lacks_another_one_is_a_failure_of_the_module() -> None:
    write("my_flows_g.py", "import my_missing_library\n")
    with pytest.raises(ImportFailed) as told:
        sources.load(["my_flows_g"])
    assert "ModuleNotFoundError: No module named 'my_missing_library'" in told.value.trace


def test_a_syntax_error_points_at_its_line() -> None:
    write("my_flows_h.py", "def (\n")
    with pytest.raises(ImportFailed) as told:
        sources.load(["my_flows_h"])
    assert "my_flows_h.py" in told.value.trace
    assert "SyntaxError" in told.value.trace


def test_a_module_that_leaves_is_a_failure_not_an_exit() -> None:
    write("my_flows_i.py", "import sys\nsys.exit(0)\n")
    with pytest.raises(ImportFailed):
        sources.load(["my_flows_i"])


def test_causes_are_trimmed_and_kept() -> None:
    write(
        "my_flows_j.py",
        "import importlib\ntry:\n    importlib.import_module('my_flows_k')\n"
        "except Exception as e:\n    raise RuntimeError('outer') from e\n",
    )
    write("my_flows_k.py", "1 / 0\n")
    with pytest.raises(ImportFailed) as told:
        sources.load(["my_flows_j"])
    assert "ZeroDivisionError" in told.value.trace
    assert "direct cause" in told.value.trace
    assert "importlib/__init__" not in told.value.trace.replace(os.sep, "/")
