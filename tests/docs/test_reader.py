"""The reader of pages notices what is not as printed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.markdown import Block
from tests.docs.reader import Reader


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path, os.environ, lambda: "")
    yield reader
    reader.leave()


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("console", "$ echo right\nright\n"),
        ("console", "$ echo some more than that\nsome ... that\n"),
        ("console", "$ echo took 12.5ms, 3m ago\ntook 1h30m, now\n"),
        ("console", "$ (exit 4)\n$ echo $?\n4\n"),
        ("console", "$ export NAME=ada\n$ echo $NAME\nada\n$ for n in 1 2; do\n>   echo $n\n> done\n1\n2\n"),
        ("sh", "mkdir inner\ncd inner\n"),
        ("python", "# kept/here.py\nraise SystemExit('not run')\n"),
    ],
)
def test_what_is_as_printed_passes(reader: Reader, language: str, text: str) -> None:
    reader.do(Block(Path(__file__), language, text, 1))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("console", "$ echo wrong\nright\n"),
        ("console", "$ echo more\n"),
        ("console", "$ true\nmore\n"),
        ("console", "$ false\n"),
        ("console", "$ (exit 4)\n$ echo $?\n5\n"),
        ("sh", "false\ntrue\n"),
        ("sh", "zart dev no_such_module\n"),
        ("python", "raise ValueError\n"),
    ],
)
def test_what_is_not_as_printed_is_noticed(reader: Reader, language: str, text: str) -> None:
    with pytest.raises(AssertionError):
        reader.do(Block(Path(__file__).parents[2] / "README.md", language, text, 1))


def test_a_file_is_saved_and_directory_and_settings_last_from_block_to_block(
    reader: Reader, tmp_path: Path
) -> None:
    here = Path(__file__).parents[2] / "README.md"
    reader.do(Block(here, "python", "# jobs.py\nNAME = 'ada'\n", 1))
    reader.do(Block(here, "sh", "export OTHER=bob\ncd /tmp\n", 2))
    reader.do(Block(here, "console", "$ pwd\n/tmp\n$ echo $OTHER\nbob\n", 3))
    assert (tmp_path / "jobs.py").read_text() == "# jobs.py\nNAME = 'ada'\n"
