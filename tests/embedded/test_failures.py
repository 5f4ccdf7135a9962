from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.embedded.conftest import needs_root
from tests.embedded.people import run_as

from zart_core.errors import ConfigurationError, StoreUnavailable
from zart_scheduler import embedded
from zart_scheduler.embedded import binaries, failures
from zart_scheduler.embedded.layout import Layout, default_directory


def test_data_of_a_version_without_programs_is_left_alone(place: Path) -> None:
    (place / "17").mkdir()
    (place / "17" / "PG_VERSION").write_text("17\n")
    with pytest.raises(ConfigurationError, match=r"holds data of PostgreSQL 17.*ZART_PG_BINDIR"):
        embedded.start(place)
    assert Layout(place).majors() == [17]


def test_without_programs_the_error_names_three_remedies(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    monkeypatch.setattr(binaries, "_SYSTEM", ())
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(
        ConfigurationError, match=r"zart-scheduler\[embedded\].*PostgreSQL 15.*ZART_DATABASE_URL"
    ):
        embedded.start(place)


def test_a_bindir_without_programs_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_PG_BINDIR", str(place))
    with pytest.raises(ConfigurationError, match=f"ZART_PG_BINDIR is {place}"):
        embedded.start(place)


def test_a_file_in_the_way_is_named(place: Path) -> None:
    (place / "state").touch()
    with pytest.raises(ConfigurationError, match=rf"cannot write to {place}/state.*ZART_STATE_DIR"):
        embedded.start(place / "state")


def test_a_directory_that_may_not_be_written_is_named(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o555)
    code = """
import sys
from zart_core.errors import ConfigurationError
from zart_scheduler import embedded
for directory in (sys.argv[1], sys.argv[1] + "/below"):
    try:
        embedded.start(directory)
    except ConfigurationError as error:
        print(error)
"""
    said = run_as("nobody", code, closed) if os.geteuid() == 0 else _own_words(closed)
    assert said.count("Permission denied") == 2
    assert said.count("ZART_STATE_DIR") == 2


def _own_words(closed: Path) -> str:
    said = ""
    for directory in (closed, closed / "below"):
        with pytest.raises(ConfigurationError) as caught:
            embedded.start(directory)
        said += str(caught.value)
    return said


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    disk = place / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", disk], check=True)


@needs_root
def test_a_full_disk_is_said_to_be_full_and_leaves_no_half_made_data(small_disk: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no space is left on that disk"):
        embedded.start(small_disk)
    assert Layout(small_disk).majors() == []


def test_a_server_that_gives_up_is_quoted_with_its_log(place: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"did not start: .*no_such_setting.*server\.log"):
        embedded.start(place, settings={"no_such_setting": "1"})
    assert embedded.start(place).directory == place


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("LOG:  x\nFATAL:  could not map memory\nLOG:  shut down\n", "could not map memory"),
        ("running bootstrap script ... \ninitdb: error: cannot be run as root\n", "cannot be run as root"),
        ("", "it wrote no reason"),
    ],
)
def test_the_telling_line_of_a_log_is_quoted(text: str, reason: str) -> None:
    assert f"did not start: {reason};" in str(failures.did_not_start(Path("/l"), text, Path("/d")))


@needs_root
def test_a_place_the_servers_user_cannot_reach_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(ConfigurationError, match=rf"cannot reach {tmp_path}.*ZART_STATE_DIR"):
        embedded.start(tmp_path / "state")


def test_a_socket_directory_that_others_could_enter_is_refused(place: Path) -> None:
    deep = place / ("d" * 100)
    short = Layout(deep).socket_directory
    short.mkdir()
    short.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"{short}, where the embedded server's socket belongs"):
        embedded.start(deep)


def test_a_url_that_looks_like_a_host_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="embedded:/absolute/directory"):
        embedded.start("embedded://host/db")


@pytest.mark.parametrize(
    ("environment", "directory"),
    [
        ({"ZART_STATE_DIR": "/somewhere"}, "/somewhere"),
        ({"XDG_DATA_HOME": "/data"}, "/data/zart"),
        ({"HOME": "/home/me"}, "/home/me/.local/share/zart"),
    ],
)
def test_where_a_plain_users_server_lives(
    environment: dict[str, str], directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_directory() == Path(directory)


def test_roots_server_lives_in_var_lib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_directory() == Path("/var/lib/zart")
