import io

import pytest
from rich.text import Text

from zart_cli import output, settings
from zart_cli.output import Column
from zart_cli.settings import Format
from zart_cli.terminal import draw, printable, speaks_unicode, table

ROWS = [{"id": "a", "note": ""}, {"id": "b" * 200, "note": ""}]


def columns() -> tuple[Column[dict[str, str]], ...]:
    return (Column("ID", lambda row: row["id"]), Column("NOTE", lambda row: row["note"], optional=True))


def shown(capsys: pytest.CaptureFixture[str], form: Format) -> str:
    settings.begin(output=form)
    output.show_list(ROWS, columns(), lambda row: row["id"], nothing="nothing here")
    return capsys.readouterr().out


def test_in_a_pipe_nothing_is_cut_wrapped_or_padded() -> None:
    out = io.StringIO()
    draw(table(["ID", "NAME"], [["x" * 300, "y"], ["z", Text("w", style="red")]]), out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[1] == "x" * 300 + "  y"
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b" not in out.getvalue()


def test_a_table_leaves_out_optional_columns_without_anything_to_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shown(capsys, Format.TABLE).splitlines() == ["ID", "a", "b" * 200]


def test_a_list_as_json_is_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Format.JSON).startswith("[\n")


def test_a_list_as_jsonl_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Format.JSONL).splitlines()[0] == '{"id": "a", "note": ""}'


def test_a_list_as_ids_is_one_id_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Format.ID).splitlines() == ["a", "b" * 200]


def test_a_list_as_yaml_is_a_sequence(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Format.YAML).startswith('- id: a\n  note: ""\n')


def test_an_empty_table_says_so_on_stderr_and_an_empty_array_is_data(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for form, out, err in (
        (Format.TABLE, "", "nothing here\n"),
        (Format.JSON, "[]\n", ""),
        (Format.ID, "", ""),
    ):
        settings.begin(output=form)
        output.show_list([], columns(), lambda row: row["id"], nothing="nothing here")
        assert tuple(capsys.readouterr()) == (out, err)


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b[2J\x07b\rc\td\ne") == "a\\x1b[2J\\x07b\\rc\td\ne"
    assert printable("left\u202eright") == "left\\u202eright"


def test_a_stream_says_whether_it_takes_any_character() -> None:
    assert speaks_unicode(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert not speaks_unicode(io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
