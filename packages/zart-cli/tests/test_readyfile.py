import os
from pathlib import Path

import pytest

from zart_cli.readyfile import ReadyFile, ready_file
from zart_core import ConfigurationError


def test_the_file_exists_only_while_ready(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    path.write_text("left by a killed process")
    with ready_file(path) as file:
        assert not path.exists()
        file.write()
        assert path.read_text() == f"{os.getpid()}\n"
        assert list(tmp_path.iterdir()) == [path]
    assert not path.exists()


def test_it_is_gone_after_a_failure_too(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    with pytest.raises(ConfigurationError), ready_file(path) as file:
        write_and_fail(file)
    assert not path.exists()


def write_and_fail(file: ReadyFile) -> None:
    file.write()
    raise ConfigurationError("later")


def test_a_directory_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="there is no directory"),
        ready_file(tmp_path / "no" / "ready"),
    ):
        pass


def test_nobody_asked_nothing_happens(tmp_path: Path) -> None:
    with ready_file(None) as file:
        file.write()
    assert list(tmp_path.iterdir()) == []
