"""What is told of a run that cannot go on (L10): both sides, the likely cause, and what repairs it. Pure."""

from __future__ import annotations

import reprlib
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from pydantic_core import from_json, to_json, to_jsonable_python

from zart_core.call import Call
from zart_core.identity import Identity
from zart_core.journal import Kind, Record
from zart_core.naming import shortest
from zart_core.operations import StepOperation
from zart_core.packing import divergence_of
from zart_core.records import CurrentCall, DivergenceDetails, RecordedCall, Remedy
from zart_core.replay import OTHER_ARGUMENTS, OTHER_KIND, RENAMED, Diverged

UNREADABLE: Final = "ZART-D004"
STUCK: Final = "ZART-D005"
BROKEN: Final = "ZART-D006"

_CAUSES: Final = {
    OTHER_KIND: "another operation took this name, or the name of a removed call",
    OTHER_ARGUMENTS: "calls of this name were added, removed or reordered, or what they are given has changed",
    RENAMED: "the call was renamed, or a new one like it was put before it",
    UNREADABLE: "its annotation or its class was changed, moved or removed",
    STUCK: "the body was changed, or waits for something in memory that only another process had",
    BROKEN: "a fault of the engine, or something that the database cannot store; the worker's log tells more",
}
_WIDTH: Final = 200

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80


def explain(
    found: Diverged, call: Call[Any], execution_id: str, recorded: Iterable[str]
) -> DivergenceDetails:
    """Return what people are told of `found`.

    Args:
        found: What diverged.
        call: The call of today's code.
        execution_id: Whose it is, for the commands.
        recorded: All identities that the run has recorded: names in the commands are unique among them.
    """
    current = _current(call)
    accept = _option("--accept", call.identity, ())
    reset = _option("--reset", found.record.identity, recorded)
    remedies = [_command(execution_id, *pair) for pair in _remedies(found, call, accept, reset)]
    return DivergenceDetails(
        found.code, found.reason, _CAUSES[found.code], _recorded(found.record), current, remedies
    )


def unreadable(record: Record, problem: str) -> Diverged:
    """Return the divergence of a record that today's code cannot read (L2)."""
    place = "" if repr(record.identity) in problem else f", in {record.identity!r}"
    return Diverged(UNREADABLE, f"{problem}{place}", record)


def without_record(code: str, reason: str, execution_id: str) -> DivergenceDetails:
    """Return what people are told of a run that cannot go on although no record contradicts its code."""
    again = _command(execution_id, "", "when that is mended: try again")
    return DivergenceDetails(code, reason, _CAUSES[code], None, None, [again])


def dump(details: DivergenceDetails) -> bytes:
    """Return `details` as they are stored: JSON that PostgreSQL can take apart, so without NUL and half characters."""
    return to_json(_storable(to_jsonable_python(details)))


def load(payload: bytes) -> DivergenceDetails:
    """Return the details that `payload` holds."""
    return divergence_of(from_json(payload))


def _remedies(found: Diverged, call: Call[Any], accept: str, reset: str) -> Iterator[tuple[str, str]]:
    before = Identity.parse(found.record.identity).name
    if found.code == RENAMED:
        is_step = call.operation.kind is Kind.STEP
        how = f"give the step aliases=({before!r},)" if is_step else f"name it {before!r} again"
        yield accept, "if it is new: it runs, and gets a record of its own"
        yield "", f"if it was renamed: {how}, deploy, and try again"
        return
    if found.code == OTHER_ARGUMENTS:
        yield accept, "takes the record in spite of the arguments"
    yield reset, f"forgets the record: {call.name!r} runs again, and nothing else"
    yield "", "after the former code was deployed again: try again"


def _option(name: str, identity: str, known: Iterable[str]) -> str:
    """Return an option of the command line, in a form that a name which begins with `-` does not spoil."""
    (text,) = shortest([identity], known)
    return f"{name}={shlex.quote(text)}" if text.startswith("-") else f"{name} {shlex.quote(text)}"


def _command(execution_id: str, options: str, effect: str) -> Remedy:
    return Remedy(f"zart runs unblock {shlex.quote(execution_id)} {options}".rstrip(), effect)


def _recorded(record: Record) -> RecordedCall:
    identity = Identity.parse(record.identity)
    return RecordedCall(
        name=identity.name,
        scope=identity.scope,
        identity=record.identity,
        kind=record.kind.label,
        outcome=record.outcome.name.lower(),
        args=_hex(record.args_hash),
    )


def _current(call: Call[Any]) -> CurrentCall:
    return CurrentCall(
        name=call.name,
        scope=call.scope.path,
        identity=call.identity,
        kind=call.operation.kind.label,
        args=_hex(call.args_hash),
        arguments=_arguments(call.operation),
        where=call.where,
    )


def _arguments(operation: Any) -> str | None:
    if not isinstance(operation, StepOperation):
        return None
    texts = [_text(value) for value in operation.args]
    texts += [f"{name}={_text(value)}" for name, value in operation.kwargs.items()]
    return f"({', '.join(texts)})"[:_WIDTH]


def _text(value: object) -> str:
    with suppress(Exception):  # users' own classes
        return _repr.repr(value)
    return f"<{type(value).__qualname__}>"


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="replace").decode().replace("\0", "\\0")
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value
