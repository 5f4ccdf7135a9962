"""What follows a body that failed or was cancelled: the handlers of its workflow, in a scope of their own.

How the body ended is recorded before a handler begins, and nothing of the body runs again. A handler is claimed,
replayed and retried like a body, over the records of its own scope only.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from zart_core.errors import ConfigurationError
from zart_core.identity import Scope
from zart_core.journal import AttemptRecord, Record
from zart_core.records import Failure

if TYPE_CHECKING:
    from zart_core.definition import Workflow

SCOPE = "!"
"""The scope of a handler; its branches are `!.0` and so on."""

Handler = Callable[..., Coroutine[Any, Any, Any]]
Recorded = TypeVar("Recorded", Record, AttemptRecord)


class Phase(Enum):
    """What a claimed run is to do; the value is how it is stored."""

    BODY = "b"
    UNDO_FAILED = "F"
    UNDO_CANCELLED = "C"
    ON_FAILURE = "f"
    ON_CANCEL = "c"

    @property
    def is_handler(self) -> bool:
        """Whether a handler runs, over records of its own."""
        return self in (Phase.ON_FAILURE, Phase.ON_CANCEL)

    @property
    def is_undoing(self) -> bool:
        """Whether the body is replayed only for the rollbacks that it has registered."""
        return self in (Phase.UNDO_FAILED, Phase.UNDO_CANCELLED)

    @property
    def follows_a_failure(self) -> bool:
        """Whether the body has failed, and was not cancelled."""
        return self in (Phase.UNDO_FAILED, Phase.ON_FAILURE)

    @property
    def scope(self) -> Scope:
        """The root scope of what runs in this phase."""
        return Scope(SCOPE if self.is_handler else "")

    def own(self, records: Iterable[Recorded]) -> tuple[Recorded, ...]:
        """Return those of a run's records that this phase may meet."""
        return tuple(record for record in records if record.identity.startswith(SCOPE) == self.is_handler)


def check_handler(
    option: str, handler: Any, fn: Callable[..., Any], leading: tuple[Any, ...]
) -> Handler | None:
    """Return `handler` if it can be one of the workflow `fn`.

    Raises:
        ConfigurationError: It is not async, or does not take the failure and the workflow's own arguments.
    """
    if handler is None:
        return None
    name = getattr(handler, "__qualname__", repr(handler))
    if not inspect.iscoroutinefunction(handler):
        raise ConfigurationError(f"{option} must be an async function: write `async def` for {name}")
    args: list[Any] = [*leading, None]
    kwargs: dict[str, Any] = {}
    for parameter in list(inspect.signature(fn).parameters.values())[len(leading) :]:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            args.append(None)
        elif parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = None
    try:
        inspect.signature(handler).bind(*args, **kwargs)
    except TypeError as error:
        raise ConfigurationError(
            f"{option} is called with the failure and then the workflow's own arguments, and {name} does not take "
            f"those: {error}"
        ) from None
    checked: Handler = handler
    return checked


def handler_arguments(
    workflow: Workflow[Any, Any], failure: Failure, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a handler: those of the workflow's own function, with the failure in front.

    They are given by position where that function allows it, so that a handler may name its parameters as it likes.
    """
    bound = inspect.signature(workflow.fn).bind(*args, **kwargs)
    bound.apply_defaults()
    leading = len(workflow.leading)
    return (*bound.args[:leading], failure, *bound.args[leading:]), bound.kwargs
