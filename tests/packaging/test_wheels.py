"""The five wheels: complete metadata, complete contents, and two of them are enough for a working `zart`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from zart_scheduler import embedded

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


def _install(wheels: dict[str, Path], home: Path, *packages: str) -> Path:
    """Make an environment of what `pip install` of these brings, in the locked versions; return its programs."""
    _run(_BIN / "uv", "venv", "--quiet", "--python", sys.executable, home)
    folder = next(iter(wheels.values())).parent
    _run(
        *(_BIN / "uv", "pip", "install", "--quiet", "--python", home, "--find-links", folder),
        *("--constraint", "requirements.lock", *packages),
        UV_COMPILE_BYTECODE="1",
    )
    return home / "bin"


@pytest.fixture(scope="module")
def clean_environment(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _install(wheels, tmp_path_factory.mktemp("clean") / "env", "zart-core", "zart-scheduler")


def _migrate_and_list(programs: Path, url: str) -> str:
    for command in (["migrate"], ["migrate", "--check"], ["runs", "list", "-o", "json"]):
        said = _run(programs / "zart", *command, ZART_DATABASE_URL=url)
    return said.strip()


def test_core_and_scheduler_bring_a_working_zart(clean_environment: Path, empty_database_url: str) -> None:
    assert _migrate_and_list(clean_environment, empty_database_url) == "[]"
    missing = subprocess.run(
        [clean_environment / "python", "-c", "import zart_api"], capture_output=True, check=False
    )
    assert missing.returncode == 1


@pytest.mark.needs("postgresql-15")
def test_they_work_with_a_server_of_version_15(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_PG_BINDIR", "/usr/lib/postgresql/15/bin")
    directory = Path(tempfile.mkdtemp(prefix="zart-pg15-", dir="/tmp"))
    directory.chmod(0o755)  # as root, the server's user has to pass
    try:
        server = embedded.start(directory / "server", fsync=False)
        try:
            assert server.version.startswith("15")
            assert _migrate_and_list(clean_environment, server.conninfo) == "[]"
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_five_run_the_demo(wheels: dict[str, Path], tmp_path: Path, empty_database_url: str) -> None:
    programs = _install(wheels, tmp_path / "env", *(name.replace("_", "-") for name in _PACKAGES))
    said = _run(
        programs / "python", "examples/order_fulfillment/demo.py", ZART_DATABASE_URL=empty_database_url
    )
    assert "exactly once" in said
