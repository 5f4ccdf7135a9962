"""Exceptions (L2): restored by type without pickle and without running `__init__`, or told as `StepFailed`."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import BaseModel, ValidationError

from zart_core.errors import NonRetryable, PayloadInvalid, StepFailed, StepTimeout
from zart_core.faults import failure, record, restore


class Declined(Exception):
    made = 0

    def __init__(self, *args: Any) -> None:
        type(self).made += 1
        super().__init__(*args)


class KeywordOnly(Exception):
    def __init__(self, *, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class AttributesFirst(Exception):
    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count
        super().__init__(f"{name} x {count}")


class NoSuper(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class OwnNew(Exception):
    calls = 0

    def __new__(cls, *args: Any) -> Self:
        cls.calls += 1
        return super().__new__(cls, *args)


class Slotted(Exception):
    __slots__ = ("__hidden", "code", "unset")

    def __init__(self, code: int) -> None:
        self.code = code
        self.__hidden = (code,)
        super().__init__(code)

    def hidden(self) -> object:
        return self.__hidden


class Stubborn(Exception):
    def __init__(self, code: int) -> None:
        self.__dict__["code"] = code
        super().__init__(code)

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("attributes are read-only")


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Hostile(Exception):
    def __reduce__(self) -> Any:
        raise AssertionError("never called")


class Refused(PermissionError):
    pass


class Unusual(OSError):
    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(13, "no")


class BadCodec(UnicodeDecodeError):
    pass


class NeedsResponse(Exception):
    def __init__(self, response: object) -> None:
        self.response = response
        super().__init__("404")


class TextFromResponse(NeedsResponse):
    def __str__(self) -> str:
        return f"status {vars(self)['response']}"


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class OddNotes(Exception):
    __notes__ = None  # type: ignore[assignment] # what a careless library may do


class Errors(ExceptionGroup[Exception]):
    def __new__(cls, members: list[Exception], code: int) -> Self:
        group = super().__new__(cls, "several", members)
        group.code = code
        return group

    code: int


class Outer:
    class Inner(Exception):
        pass


class SubTimeout(StepTimeout):
    pass


class Declining(NonRetryable):
    pass


class Model(BaseModel):
    a: int


def noted() -> Exception:
    error = Declined("n")
    error.add_note("look here")
    return error


def with_cause_and_note(error: Exception) -> Exception:
    vars(error)["__notes__"] = ["look here"]
    BaseException.__setattr__(error, "__cause__", KeyError("k"))
    return error


def caused() -> Exception:
    error = Declined("c")
    error.__cause__ = KeyError("k")
    error.__cause__.__cause__ = AttributesFirst("a", 2)
    return error


def raised(action: Any) -> BaseException:
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


TYPED = [
    Declined("declined", 1),
    Declined(),
    Declined((1, (2, b"\xff")), {"a": [1]}, {"$tuple": 1}, None, True, 1.5),
    Declined(math.nan),
    Declined("lone \ud800 half"),
    KeywordOnly(code=3, text="m"),
    AttributesFirst("a", 2),
    NoSuper(5),
    OwnNew(1, 2),
    Slotted(4),
    Stubborn(6),
    Frozen(7),
    with_cause_and_note(Frozen(8)),
    Hostile("x"),
    Refused(13, "no"),
    Refused("only text"),
    Unusual(7),
    Outer.Inner("x"),
    raised(b"\xff".decode),
    BadCodec("utf-8", b"\xff", 0, 1, "bad"),
    raised(Path("/nonexistent").read_text),
    OSError(2, "x", "from", None, "to"),
    ConnectionResetError("gone"),
    KeyError("k"),
    StopIteration(3),
    ImportError("m", name="q"),
    NameError("n", name="n"),
    SyntaxError("s", ("file", 1, 2, "text")),
    json.JSONDecodeError("bad", "{", 1),
    asyncio.QueueEmpty(),
    TimeoutError("t"),
    ExceptionGroup("g", [Declined("1"), ValueError(2), ExceptionGroup("inner", [KeyError("k")])]),
    Errors([ValueError(1)], 7),
    noted(),
    caused(),
    SubTimeout("charge", 5.0),
    Declining("no"),
]


@pytest.mark.parametrize("error", TYPED, ids=lambda error: type(error).__name__)
def test_an_exception_comes_back_as_it_was(error: Exception) -> None:
    restored = restore(record(error))
    assert type(restored) is type(error)
    assert str(restored) == str(error)
    assert isinstance(error, ExceptionGroup) or repr(restored.args) == repr(error.args)
    assert repr(vars(restored)) == repr(vars(error))
    assert getattr(restored, "__notes__", []) == getattr(error, "__notes__", [])
    assert type(restored.__cause__) is type(error.__cause__)
    assert json.loads(record(error))["typed"] is True


def test_attributes_in_slots_and_of_c_code_come_back() -> None:
    slotted = restore(record(Slotted(4)))
    assert isinstance(slotted, Slotted)
    assert (slotted.code, slotted.hidden(), hasattr(slotted, "unset")) == (4, (4,), False)
    missing = restore(record(raised(Path("/nonexistent").read_text)))
    assert isinstance(missing, FileNotFoundError)
    assert (missing.errno, missing.filename) == (2, "/nonexistent")
    imported = restore(record(ImportError("m", name="q")))
    assert isinstance(imported, ImportError)
    assert imported.name == "q"


def test_no_code_of_the_user_runs_when_an_exception_is_restored() -> None:
    payloads = [record(Declined("z")), record(OwnNew(1))]
    before = Declined.made, OwnNew.calls
    for payload in payloads:
        restore(payload)
    assert (Declined.made, OwnNew.calls) == before


def test_each_restore_gives_a_new_object() -> None:
    payload = record(ValueError("x"))
    assert restore(payload) is not restore(payload)


def test_causes_and_groups_are_restored_by_type() -> None:
    restored = restore(record(caused()))
    assert isinstance(restored.__cause__, KeyError)
    assert isinstance(restored.__cause__.__cause__, AttributesFirst)
    assert restored.__cause__.__cause__.count == 2
    group = restore(record(ExceptionGroup("g", [Declined("1"), ValueError(2)])))
    assert isinstance(group, ExceptionGroup)
    assert group.subgroup(Declined) is not None


def test_five_causes_are_kept_and_a_circle_ends() -> None:
    chain = first = ValueError(0)
    for number in range(1, 9):
        chain.__cause__ = ValueError(number)
        chain = chain.__cause__
    links, link = 0, restore(record(first)).__cause__
    while link is not None:
        links, link = links + 1, link.__cause__
    assert links == 5
    one, two = ValueError(1), ValueError(2)
    one.__cause__, two.__cause__ = two, one
    restored = restore(record(one))
    assert restored.__cause__ is not None
    assert restored.__cause__.__cause__ is None


def test_what_was_lost_is_named_in_a_note_once() -> None:
    restored = restore(record(NeedsResponse(object())))
    assert isinstance(restored, NeedsResponse)
    assert restored.__notes__ == ["not recorded: response"]
    assert not hasattr(restored, "response")
    assert restore(record(restored)).__notes__ == ["not recorded: response"]


def test_arguments_that_cannot_be_kept_leave_the_text() -> None:
    restored = restore(record(Declined(Model(a=1))))
    assert isinstance(restored, Declined)
    assert (str(restored), restored.__notes__) == ("a=1", ["not recorded: args"])


def test_values_beyond_what_can_be_read_again_are_lost() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    error = Declined("x")
    error.deep, error.huge = deep, 10**5000  # type: ignore[attr-defined] # attributes as users set them
    assert restore(record(error)).__notes__ == ["not recorded: deep, huge"]


def local() -> Exception:
    class Local(Exception):
        pass

    return Local("x")


def deep_group() -> Exception:
    group: ExceptionGroup[Exception] = ExceptionGroup("g", [ValueError(1)])
    for _ in range(50):
        group = ExceptionGroup("g", [group])
    return group


UNTYPED: list[tuple[BaseException, str, str]] = [
    (local(), "local.<locals>.Local", "x"),
    (raised(lambda: Model(a="x")), "ValidationError", "1 validation error"),  # type: ignore[arg-type] # that is wrong
    (TextFromResponse(object()), "TextFromResponse", "status <object"),
    (KeyError(object()), "KeyError", "<object"),
    (OddNotes("x"), "OddNotes", "x"),
    (SystemExit(3), "SystemExit", "3"),
    (KeyboardInterrupt(), "KeyboardInterrupt", ""),
    (asyncio.CancelledError("c"), "CancelledError", "c"),
    (BaseExceptionGroup("g", [SystemExit(1)]), "BaseExceptionGroup", "g (1 sub-exception)"),
    (Declined("x" * 20_000, object()), "Declined", "x"),
    (Declined("\ud800" + "x" * 2_000_000), "Declined", "?"),
]


@pytest.mark.parametrize(("error", "name", "message"), UNTYPED)
def test_what_cannot_come_back_is_told_as_step_failed(error: BaseException, name: str, message: str) -> None:
    payload = record(error)
    restored = restore(payload)
    assert type(restored) is StepFailed
    assert restored.type == name
    assert message in restored.message
    assert len(payload) < 2**20
    told = failure(payload)
    assert (told.type, told.exception) == (name, None)


def test_a_group_keeps_its_type_around_members_that_do_not() -> None:
    restored = restore(record(ExceptionGroup("g", [local(), ValueError(1)])))
    assert isinstance(restored, ExceptionGroup)
    assert [type(member) for member in restored.exceptions] == [StepFailed, ValueError]


def test_groups_nested_without_end_lose_only_the_depths() -> None:
    restored: Any = restore(record(deep_group()))
    depth = 0
    while isinstance(restored, ExceptionGroup):
        depth, restored = depth + 1, restored.exceptions[0]
    assert depth == 20
    assert type(restored) is StepFailed


def test_a_failure_tells_kind_type_message_and_traceback() -> None:
    told = failure(record(raised(lambda: int("x"))))
    assert (told.kind, told.type, told.message) == (
        "error",
        "ValueError",
        "invalid literal for int() with base 10: 'x'",
    )
    assert told.traceback.startswith("Traceback (most recent call last):\n")
    assert "test_faults.py" in told.traceback
    assert isinstance(told.exception, ValueError)
    assert str(told) == "ValueError: invalid literal for int() with base 10: 'x'"
    assert failure(record(Unprintable())).message == "<str() failed: ValueError>"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError(), "error"),
        (StepTimeout("s", 1), "StepTimeout"),
        (SubTimeout("s", 1), "error"),
        (PayloadInvalid("x"), "PayloadInvalid"),
        (NonRetryable("x"), "error"),
        (Declining("x"), "error"),
        (StepFailed("T", "m", "", "cancelled"), "cancelled"),
        (StepFailed("T", "m"), "error"),
    ],
)
def test_the_kind_is_error_for_users_exceptions_and_a_class_name_for_the_engines(
    error: Exception, kind: str
) -> None:
    assert failure(record(error)).kind == kind
    assert failure(record(error, kind="cancelled")).kind == "cancelled"


def test_a_cancelled_kind_reaches_step_failed() -> None:
    restored = restore(record(asyncio.CancelledError(), kind="cancelled"))
    assert isinstance(restored, StepFailed)
    assert restored.kind == "cancelled"


def test_an_exception_of_pydantic_is_told_with_its_text() -> None:
    error = raised(lambda: Model(a="x"))  # type: ignore[arg-type] # that is wrong
    assert isinstance(error, ValidationError)
    assert "a\n" in failure(record(error)).message
