"""Steps and workflows as their authors define them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Generic, ParamSpec, TypeVar
from weakref import WeakValueDictionary

from zart_core import codec
from zart_core.arguments import Parameters
from zart_core.call import Call, StepCall
from zart_core.children import ChildOperation, child_call
from zart_core.codec import Codec
from zart_core.current import body_for
from zart_core.duration import Duration
from zart_core.errors import ConfigurationError, DuplicateName
from zart_core.handlers import Handler, check_handler
from zart_core.hints import resolve_hints
from zart_core.identity import check_name
from zart_core.operations import StepOperation, check_timeout
from zart_core.retry import RetryPolicy, as_policy

P = ParamSpec("P")
R = TypeVar("R")
ErrorTypes = tuple[type[BaseException], ...]

MAX_CRASHES = 1000
"""Most deaths of workers in a row that a workflow may ask for before it is failed."""


def describe(fn: Callable[..., Any]) -> str:
    """Return where `fn` was written, for error texts."""
    code = getattr(fn, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"{getattr(fn, '__module__', '?')}.{getattr(fn, '__qualname__', repr(fn))}{place}"


def default_name(fn: Callable[..., Any]) -> str:
    """Return the name of a step or workflow that was given none."""
    return str(getattr(fn, "__name__", "")).strip("_").replace("_", "-")


class Binder:
    """Binds a call's arguments to parameter names, as Python would, but fast where the signature is plain."""

    __slots__ = ("_names", "_owner", "_required", "_signature", "defaults")

    def __init__(self, fn: Callable[..., Any]) -> None:
        try:
            self._signature = inspect.signature(fn)
        except ValueError:
            raise ConfigurationError(
                f"{describe(fn)} does not tell its parameters, so its arguments cannot be recorded; "
                f"put a function of your own around it"
            ) from None
        self._owner = getattr(fn, "__qualname__", describe(fn))
        parameters = self._signature.parameters.values()
        plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        self._names = tuple(p.name for p in parameters) if plain else None
        self._required = sum(1 for p in parameters if p.default is p.empty)
        self.defaults = {p.name: p.default for p in parameters if p.default is not p.empty}

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(self._signature.parameters)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was given, by parameter name.

        Raises:
            TypeError: The arguments do not fit the signature.
        """
        if self._names is not None and not kwargs and self._required <= len(args) <= len(self._names):
            return dict(zip(self._names, args, strict=False))
        try:
            return dict(self._signature.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise TypeError(f"{self._owner}() {error}") from None


class Step(Generic[P, R]):
    """A named unit of work with a recorded outcome. Calling it makes a `StepCall`."""

    def __init__(
        self,
        fn: Callable[P, Any],
        name: str | None = None,
        *,
        retry: str | RetryPolicy | None = None,
        timeout: Duration | None = None,
        timeout_scope: str = "global",
        heartbeat_timeout: Duration | None = None,
        retry_on: ErrorTypes = (),
        no_retry_on: ErrorTypes = (),
        aliases: Sequence[str] = (),
        localns: Mapping[str, Any] | None = None,
        is_registered: bool = True,
    ) -> None:
        if not callable(fn):
            raise ConfigurationError(f"a step must be a function, not {fn!r}")
        self.fn = fn
        self.name = check_name("step", default_name(fn) if name is None else name)
        self.is_async = inspect.iscoroutinefunction(fn)
        self.policy = as_policy(retry)
        self.timeout_scope = timeout_scope
        self.timeout = check_timeout(timeout, timeout_scope)
        self.heartbeat_timeout = check_timeout(heartbeat_timeout, "per_attempt")
        self.retry_on, self.no_retry_on = (
            _error_types("retry_on", retry_on),
            _error_types("no_retry_on", no_retry_on),
        )
        self._binder = Binder(fn)
        if self._binder.names[:1] == ("self",):
            raise ConfigurationError(
                f"step {self.name!r} is a method ({describe(fn)}): its `self` cannot be recorded; "
                f"use a function and give it what it needs as arguments"
            )
        self._localns = dict(localns or {})
        self._codec: Codec | None = None
        self._parameters: Parameters | None = None
        self._template = _has_fields(self.name, self._binder.names)
        self.aliases = _aliases(self.name, aliases, self._binder.names)
        for attribute in ("__module__", "__qualname__", "__doc__", "__wrapped__"):
            setattr(self, attribute, fn if attribute == "__wrapped__" else getattr(fn, attribute, None))
        self.code = f"{fn.__module__}:{fn.__qualname__}" if is_registered and has_name(fn) else None
        """Where other processes find it, as `module:qualname`; None if they cannot."""
        if self.code is not None:
            _registered[self.name, self.code] = self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> StepCall[R]:
        """Make a call of the step; outside any run, awaiting it just runs the function.

        Raises:
            TypeError: The arguments do not fit the function.
        """
        arguments = self._binder.bind(args, kwargs)
        body = body_for(f"step {self.name!r}")
        if body is None:
            return StepCall(None, self.name, self._operation(args, kwargs))
        body.meet_step(self)
        name, aliases = self.name, self.aliases
        if self._template or aliases:
            values = self._binder.defaults | arguments
            name = self._filled(name, values)
            aliases = tuple(self._filled(alias, values) for alias in aliases)
        return StepCall(body, name, self._operation(args, kwargs, aliases), codec.args_hash(arguments))

    def _filled(self, name: str, values: Mapping[str, Any]) -> str:
        return check_name("step", name.format_map(values)) if "{" in name or "}" in name else name

    def _operation(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], aliases: tuple[str, ...] = ()
    ) -> StepOperation:
        return StepOperation(self, args, kwargs, self.policy, self.timeout, self.timeout_scope, aliases)

    def result_codec(self) -> Codec:
        """Return how results are stored, by the return annotation.

        Raises:
            ConfigurationError: The annotation names something that does not exist.
        """
        if self._codec is None:
            hints = resolve_hints(self.fn, self._localns)
            self._codec = Codec.of(hints.get("return", codec.MISSING), what=f"result of step {self.name!r}")
        return self._codec

    @property
    def parameters(self) -> Parameters:
        """Its parameters, and how a spawned step's arguments are stored."""
        if self._parameters is None:
            self._parameters = Parameters.of(self.fn, self._localns)
        return self._parameters

    def __repr__(self) -> str:
        return f"<Step {self.name!r}>"


_registered: WeakValueDictionary[tuple[str, str], Step[Any, Any]] = WeakValueDictionary()


def registered_step(name: str, code: str) -> Step[Any, Any] | None:
    """Return the step of that name that this process has defined at `code`, as `module:qualname`."""
    return _registered.get((name, code))


def has_name(fn: Any) -> bool:
    """Return whether other processes can find `fn` by where it was written: it is no lambda, and no mere object."""
    return inspect.isfunction(fn) and fn.__name__ != "<lambda>"


def _error_types(option: str, value: Any) -> ErrorTypes:
    types = value if isinstance(value, tuple) else (value,)
    for item in types:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise ConfigurationError(f"{option} takes exception classes, not {item!r}")
    return types


def _aliases(name: str, aliases: Sequence[str], parameters: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(aliases, str) or name in aliases:
        raise ConfigurationError(
            f"aliases of step {name!r} must be its former names, as in aliases=('charge',), not {aliases!r}"
        )
    for alias in aliases:
        _has_fields(check_name("step", alias), parameters)
    return tuple(aliases)


def _has_fields(name: str, parameters: tuple[str, ...]) -> bool:
    """Return whether `name` has `{field}`s, and check that each is a parameter."""
    try:
        fields = [
            field.split(".")[0].split("[")[0]
            for _, field, _, _ in Formatter().parse(name)
            if field is not None
        ]
    except ValueError as error:
        raise ConfigurationError(f"the name of step {name!r} has unbalanced braces: {error}") from None
    for field in fields:
        if field not in parameters:
            raise ConfigurationError(
                f"the name of step {name!r} uses {{{field}}}, which is no parameter of it"
            )
    return bool(fields)


@dataclass(frozen=True, slots=True)
class Invocation(Generic[R]):
    """A workflow with its arguments, not yet started. `workflow` is a name if the code is not at hand."""

    workflow: Workflow[Any, R] | str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Workflow(Generic[P, R]):
    """A durable function, known by its registered name and version."""

    def __init__(
        self,
        fn: Callable[..., Awaitable[R]],
        name: str | None = None,
        *,
        version: str = "1",
        current: bool = True,
        timeout: Duration | None = None,
        queue: str = "default",
        priority: int = 0,
        on_divergence: str = "warn",
        on_failure: Handler | None = None,
        on_cancel: Handler | None = None,
        max_crashes: int = 5,
        leading: tuple[Any, ...] = (),
        localns: Mapping[str, Any] | None = None,
    ) -> None:
        if not inspect.iscoroutinefunction(fn):
            raise ConfigurationError(
                f"a workflow must be an async function: write `async def` for {describe(fn)}"
            )
        if on_divergence not in ("warn", "block"):
            raise ConfigurationError(f"on_divergence must be 'warn' or 'block', not {on_divergence!r}")
        if not isinstance(priority, int) or not -32768 <= priority <= 32767:  # noqa: PLR2004 - smallint
            raise ConfigurationError(
                f"priority must be a whole number from -32768 to 32767, not {priority!r}"
            )
        self.fn = fn
        self.name = check_name("workflow", default_name(fn) if name is None else name)
        self.version = check_name("workflow's version", version)
        self.queue = check_name("queue", queue)
        self.current, self.priority, self.on_divergence = current, priority, on_divergence
        self.timeout = check_timeout(timeout, "global")
        self.leading = leading
        self.on_failure = check_handler("on_failure", on_failure, fn, leading)
        self.on_cancel = check_handler("on_cancel", on_cancel, fn, leading)
        if not isinstance(max_crashes, int) or not 1 <= max_crashes <= MAX_CRASHES:
            raise ConfigurationError(
                f"max_crashes must be a whole number from 1 to {MAX_CRASHES}, not {max_crashes!r}"
            )
        self.max_crashes = max_crashes
        self._localns = dict(localns or {})
        self._parameters: Parameters | None = None
        self._codec: Codec | None = None
        for attribute in ("__module__", "__qualname__", "__doc__", "__wrapped__"):
            setattr(self, attribute, fn if attribute == "__wrapped__" else getattr(fn, attribute, None))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Make a call that runs the workflow as a child; outside any run, awaiting it just runs the function.

        The call gives what the child returns, or raises what it raised. `ExecutionCancelled`: somebody cancelled it.

        Raises:
            TypeError: The arguments do not fit the function.
        """
        body = body_for(f"workflow {self.name!r}")
        if body is None:
            return Call(None, self.name, ChildOperation(self, args, kwargs))
        return child_call(body, self, args, kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Invocation[R]:
        """Return the workflow with these arguments, for a client's `start` or for `detached`."""
        return Invocation(self, args, dict(kwargs))

    @property
    def parameters(self) -> Parameters:
        """Its parameters, and how arguments are stored."""
        if self._parameters is None:
            skip = tuple(inspect.signature(self.fn).parameters)[: len(self.leading)]
            self._parameters = Parameters.of(self.fn, self._localns, skip=skip)
        return self._parameters

    def result_codec(self) -> Codec:
        """Return how results are stored, by the return annotation."""
        if self._codec is None:
            hints = resolve_hints(self.fn, self._localns)
            self._codec = Codec.of(
                hints.get("return", codec.MISSING), what=f"result of workflow {self.name!r}"
            )
        return self._codec

    def input_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of `input`: of the only parameter, or of an object by parameter name."""
        return self.parameters.input_schema()

    def result_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the result."""
        return self.result_codec().json_schema()

    def __repr__(self) -> str:
        return f"<Workflow {self.name!r} version {self.version!r}>"


def same_definition(first: Step[Any, Any], second: Step[Any, Any]) -> bool:
    """Return whether two steps are one in two copies, as after a module was loaded again."""
    return first is second or first.fn is second.fn or describe(first.fn) == describe(second.fn)


def check_same_step(known: Step[Any, Any], met: Step[Any, Any]) -> None:
    """Refuse two different steps of one name.

    Raises:
        DuplicateName: They are different functions.
    """
    if not same_definition(known, met):
        raise DuplicateName("step", met.name, describe(known.fn), describe(met.fn))


def claim_names(step: Step[Any, Any], known: dict[str, Step[Any, Any]]) -> None:
    """Enter `step` into `known` by its name and its aliases: a record must not be two steps'.

    Raises:
        DuplicateName: Another step has one of them.
    """
    for name in (step.name, *step.aliases):
        other = known.setdefault(name, step)
        if other.name != step.name or not same_definition(other, step):
            raise DuplicateName("step", name, describe(other.fn), describe(step.fn))
