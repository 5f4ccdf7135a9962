"""The five wheels: complete metadata, complete contents, and two of them are enough for a working `zart`."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_BIN = Path(sys.executable).parent
_PACKAGES = ("zart_api", "zart_cli", "zart_core", "zart_decorators", "zart_scheduler")


def _run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=_ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("dist")
    _run(
        *(_BIN / "uv", "build", "--quiet", "--offline", "--all-packages", "--wheel", "--no-build-isolation"),
        *("--python", sys.executable, "--out-dir", out),
    )
    return {path.name.partition("-")[0]: path for path in out.glob("*.whl")}


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_there_are_five_and_their_metadata_is_complete(wheels: dict[str, Path]) -> None:
    assert sorted(wheels) == sorted(_PACKAGES)
    _run(_BIN / "twine", "check", "--strict", *wheels.values())
    for wheel in wheels.values():
        metadata = _metadata(wheel)
        for field in (
            "Summary",
            "Author",
            "Keywords",
            "License-Expression",
            "License-File",
            "Requires-Python",
        ):
            assert metadata[field], (wheel.name, field)
        assert metadata["License-Expression"] == "MIT"
        assert metadata["Requires-Python"] == ">=3.11"
        assert metadata.get_payload()


def test_they_hold_every_file_of_the_source_and_none_of_the_tests(wheels: dict[str, Path]) -> None:
    for package, wheel in wheels.items():
        source = _ROOT / "packages" / package.replace("_", "-") / "src"
        expected = {
            str(path.relative_to(source))
            for path in source.rglob("*")
            if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts
        }
        with zipfile.ZipFile(wheel) as archive:
            held = {
                name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")
            }
        assert held == expected
        assert f"{package}/py.typed" in held


@pytest.fixture(scope="module")
def clean_environment(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of what `pip install zart-core zart-scheduler` brings, in the locked versions."""
    home = tmp_path_factory.mktemp("clean") / "env"
    _run(_BIN / "uv", "venv", "--quiet", "--python", sys.executable, home)
    folder = next(iter(wheels.values())).parent
    _run(
        *(_BIN / "uv", "pip", "install", "--quiet", "--python", home, "--find-links", folder),
        *("--constraint", "requirements.lock", "zart-core", "zart-scheduler"),
    )
    return home / "bin"


def test_core_and_scheduler_bring_a_working_zart(clean_environment: Path, empty_database_url: str) -> None:
    zart = clean_environment / "zart"
    for command in (["migrate"], ["migrate", "--check"], ["runs", "list", "-o", "json"]):
        said = _run(zart, *command, ZART_DATABASE_URL=empty_database_url)
    assert said.strip() == "[]"
    missing = subprocess.run(
        [clean_environment / "python", "-c", "import zart_api"], capture_output=True, check=False
    )
    assert missing.returncode == 1
