"""The page on the command line has every command, option and exit code, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from tests.docs.markdown import codes, read, rows, sections

from zart_cli.app import app
from zart_cli.exitcodes import ExitCode

PAGE = read("docs/reference/cli.md")
TOPICS = sections(PAGE, 2)
SECTIONS = {
    " ".join(word for word in title.split() if word.islower()): body.partition("\n## ")[0]
    for title, body in sections(PAGE.partition("## Not there yet")[0], 3).items()
}
HELP = {"--help", "-h"}


def _commands(command: Any, path: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the root and every command that does something, with their options."""
    inner = getattr(command, "commands", {})
    for name, each in inner.items():
        yield from _commands(each, f"{path} {name}")
    if not inner or path == "zart":
        options = [p for p in command.params if p.param_type_name == "option"]
        yield path, {name for p in options for name in (*p.opts, *p.secondary_opts)} - HELP


COMMANDS = dict(_commands(typer.main.get_command(app), "zart"))
OF_THE_ROOT = COMMANDS.pop("zart")
OF_ALL = set.intersection(*COMMANDS.values())


def _options(text: str) -> set[str]:
    return {word for code in codes(text) for word in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", code)}


def _first_cells(text: str) -> str:
    return "\n".join(row[0] for row in rows(text))


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert SECTIONS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_section_has_the_commands_options_and_no_other(command: str) -> None:
    assert _options(_first_cells(SECTIONS[command])) == COMMANDS[command] - OF_ALL


def test_the_options_of_every_command_are_told_once() -> None:
    assert _options(_first_cells(TOPICS["Everywhere"])) == OF_ALL
    of_the_root = _options(PAGE.partition("## Everywhere")[0].replace("python -m", ""))
    assert of_the_root - HELP == OF_THE_ROOT - OF_ALL


def test_every_exit_code_is_told() -> None:
    cells = [row[0] for row in rows(TOPICS["Everywhere"]) if re.fullmatch(r"[\d, ]+", row[0])]
    assert {int(code) for cell in cells for code in cell.split(",")} == {int(code) for code in ExitCode}
