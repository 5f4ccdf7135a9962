"""What people are told of a run that cannot go on."""

from __future__ import annotations

import shlex

import pytest

from zart_core import Step, divergence
from zart_core.call import Call
from zart_core.codec import MISSING, Codec
from zart_core.definition import Binder
from zart_core.divergence import BROKEN, STUCK, UNREADABLE, dump, explain, load, unreadable, without_record
from zart_core.identity import Scope
from zart_core.journal import Kind, Outcome, Record
from zart_core.operations import CaptureOperation, SleepOperation, StepOperation
from zart_core.replay import OTHER_ARGUMENTS, OTHER_KIND, RENAMED, Diverged

Hostile = type("list", (), {})  # what shortens texts takes it for a list


class Body:
    def __init__(self) -> None:
        self.scope = Scope()
        self.open_calls: dict[int, Call[object]] = {}
        self.reserved = 0

    def current_scope(self) -> Scope:
        return self.scope

    async def perform(self, call: Call[object]) -> object:
        raise NotImplementedError


async def _pay(order: object, note: object = None) -> None: ...


def paid(*args: object, **kwargs: object) -> Call[object]:
    step: Step[..., None] = Step(_pay, "pay")
    operation = StepOperation(step, args, kwargs, step.policy, None, "global")
    assert Binder(_pay).bind(args, kwargs)
    return _made(Call(Body(), "pay", operation, b"\1"))


def slept() -> Call[object]:
    return _made(Call(Body(), "nap", SleepOperation("nap", 1, None)))


def _made(call: Call[object]) -> Call[object]:
    call.close()
    return call


def record(identity: str = ":pay#0", kind: Kind = Kind.STEP) -> Record:
    return Record(identity, kind, Outcome.OK, 5, b"1", b"\2")


def commands(code: str, call: Call[object], identity: str = ":pay#0", execution: str = "x") -> list[str]:
    told = explain(Diverged(code, "reason", record(identity)), call, execution, [identity, ":pay#7"])
    return [remedy.command.removeprefix("zart runs unblock ") for remedy in told.remedies]


def test_each_sort_has_the_commands_that_repair_it() -> None:
    assert commands(OTHER_KIND, paid("a")) == ["x --reset 'pay#0'", "x"]
    assert commands(OTHER_ARGUMENTS, paid("a")) == ["x --accept pay", "x --reset 'pay#0'", "x"]
    assert commands(UNREADABLE, paid("a")) == ["x --reset 'pay#0'", "x"]
    assert commands(RENAMED, paid("a"), ":before#0") == ["x --accept pay", "x"]


def test_a_shell_reads_the_commands_as_they_are_meant() -> None:
    (reset, _) = commands(OTHER_KIND, paid("a"), ":-rf $HOME#0", "my order;ls")
    assert shlex.split(reset) == ["my order;ls", "--reset=-rf $HOME"]


def test_only_a_step_can_have_aliases() -> None:
    step = explain(Diverged(RENAMED, "r", record(":old#0")), paid("a"), "x", [])
    nap = explain(Diverged(RENAMED, "r", record(":old#0", Kind.SLEEP)), slept(), "x", [])
    assert "aliases=('old',)" in step.remedies[1].effect
    assert "name it 'old' again" in nap.remedies[1].effect


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (paid("a", note=[1]), "('a', note=[1])"),
        (paid(Hostile()), "(<list>)"),
        (slept(), None),
        (_made(Call(Body(), "c", CaptureOperation("c", None, Codec.of(MISSING, what="c")))), None),
    ],
)
def test_the_arguments_of_a_step_are_told_whatever_they_are(call: Call[object], text: str | None) -> None:
    told = explain(Diverged(OTHER_KIND, "r", record()), call, "x", []).current
    assert told is not None
    assert told.arguments == text


def test_long_arguments_are_cut() -> None:
    told = explain(
        Diverged(OTHER_KIND, "r", record()), paid("x" * 10_000, note=list(range(999))), "x", []
    ).current
    assert told is not None
    assert len(told.arguments or "") <= 200


def test_an_unreadable_record_is_named_once() -> None:
    assert unreadable(record(), "it is odd").reason == "it is odd, in ':pay#0'"
    assert unreadable(record(), "':pay#0' is odd").reason == "':pay#0' is odd"


@pytest.mark.parametrize("code", [STUCK, BROKEN])
def test_what_has_no_second_side_can_only_be_tried_again(code: str) -> None:
    told = without_record(code, "it waits for nothing", "x")
    assert (told.code, told.recorded, told.current) == (code, None, None)
    assert [remedy.command for remedy in told.remedies] == ["zart runs unblock x"]


def test_what_is_stored_can_be_taken_apart_by_the_database_and_comes_back() -> None:
    told = without_record(STUCK, "a\0b \ud800 ä", "x")
    stored = dump(told)
    assert b"\\u0000" not in stored
    assert load(stored).reason == "a\\0b ? ä"
    both = explain(Diverged(OTHER_KIND, "reason", record()), paid("a"), "x", [])
    assert load(dump(both)) == both


def test_every_code_has_a_cause() -> None:
    assert set(divergence._CAUSES) == {f"ZART-D00{n}" for n in range(1, 7)}
