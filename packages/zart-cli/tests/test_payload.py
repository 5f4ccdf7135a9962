import io
from pathlib import Path

import pytest
import typer

from zart_cli.payload import read_json


def test_json_text_is_read() -> None:
    assert read_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_bytes('\ufeff{"name": "Müller"}'.encode())
    assert read_json(f"@{path}") == {"name": "Müller"}


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("[1]\n"))
    assert read_json("-") == [1]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match=r"cannot read .*missing.json: No such file"):
        read_json(f"@{tmp_path}/missing.json")


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_bytes(b'"\xff"')
    with pytest.raises(typer.BadParameter, match="not UTF-8"):
        read_json(f"@{path}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{bad", "line 1, column 2"),
        ("order-7", "strings need double quotes"),
        ('{"a": 1,\n "b"}', "line 2, column 5"),
        ("[" * 100_000, "nested too deeply"),
        ("", "-d is not JSON"),
    ],
)
def test_what_is_not_json_is_located(text: str, told: str) -> None:
    with pytest.raises(typer.BadParameter, match=told):
        read_json(text)
