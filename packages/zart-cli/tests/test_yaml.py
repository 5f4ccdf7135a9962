import pytest

from zart_cli.yaml import to_yaml


def test_nested_values_are_blocks() -> None:
    value = [{"id": "o-1", "tags": {"region": "eu"}, "steps": [{"name": "pay", "attempts": []}, "x"]}, {}]
    assert to_yaml(value) == (
        "- id: o-1\n  tags:\n    region: eu\n  steps:\n    - name: pay\n      attempts: []\n    - x\n- {}\n"
    )


@pytest.mark.parametrize(
    "text",
    ["yes", "No", "null", "true", "1.5", "0x10", "2030-01-01", "", " a", "a: b", "#a", "a\nb", "~", "12:30"],
)
def test_text_that_yaml_would_read_as_something_else_is_quoted(text: str) -> None:
    line = to_yaml(text)
    assert line.startswith('"')
    assert line.count("\n") == 1


def test_special_numbers_and_none_have_yaml_names() -> None:
    assert (
        to_yaml([None, True, float("nan"), float("-inf"), 2**70])
        == f"- null\n- true\n- .nan\n- -.inf\n- {2**70}\n"
    )


def test_line_separators_cannot_break_a_quoted_text() -> None:
    assert to_yaml("a\u2028b\x85c") == '"a\\u2028b\\u0085c"\n'


def test_keys_are_quoted_like_values() -> None:
    assert to_yaml({"a: b": 1, "on": 2}) == '"a: b": 1\n"on": 2\n'
