"""Who a durable call is: its scope, its name, and its key or occurrence (L5). Pure.

The written form is `scope:name#3` for the fourth call of that name in the scope, `scope:name#=key` for a keyed one.
The root scope is empty; a branch is `.N` behind its parent's path, numbered by the parent when it is created.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from zart_core.errors import ConfigurationError, DuplicateKey

MAX_NAME = 255
"""Longest name of a workflow, step, sleep or event, in characters."""

MAX_KEY = 255
"""Longest key of a call, in characters."""

MAX_ID = 255
"""Longest id of an execution, in characters."""


class Scope:
    """One line of a body's execution: the body itself, or one branch of concurrent code."""

    __slots__ = ("_counts", "_keys", "branches", "label", "path")

    def __init__(self, path: str = "", label: str = "") -> None:
        self.path, self.label = path, label
        self.branches = 0
        self._counts: dict[str, int] = {}
        self._keys: set[tuple[str, str]] | None = None

    def branch(self, label: str = "") -> Scope:
        """Return the scope of the next branch; the parent numbers it when it is created."""
        number = self.branches
        self.branches = number + 1
        return Scope(f"{self.path}.{number}", label)

    def take(self, name: str) -> int:
        """Reserve and return the next occurrence of `name`."""
        occurrence = self._counts.get(name, 0)
        self._counts[name] = occurrence + 1
        return occurrence

    def give_back(self, name: str, occurrence: int) -> None:
        """Undo `take`, if nothing was taken since; else the hole stays, which is just as deterministic."""
        if self._counts.get(name) == occurrence + 1:
            self._counts[name] = occurrence

    def take_key(self, name: str, key: str) -> None:
        """Reserve `key` for `name`.

        Raises:
            DuplicateKey: It was taken before in this scope.
        """
        if self._keys is None:
            self._keys = set()
        if (name, key) in self._keys:
            raise DuplicateKey(name, key)
        self._keys.add((name, key))

    def give_back_key(self, name: str, key: str) -> None:
        """Undo `take_key`."""
        if self._keys is not None:
            self._keys.discard((name, key))

    def prefix(self, name: str) -> str:
        """Return what the identities of all calls of `name` in this scope begin with."""
        return f"{self.path}:{escape(name)}#"


def escape(name: str) -> str:
    """Return `name` as identities write it, without a `#`."""
    if "#" in name or "%" in name:
        return name.replace("%", "%25").replace("#", "%23")
    return name


def occurrence_identity(path: str, name: str, occurrence: int) -> str:
    """Return the written identity of the call of `name` number `occurrence` in the scope `path`."""
    return f"{path}:{escape(name)}#{occurrence}"


def keyed_identity(path: str, name: str, key: str) -> str:
    """Return the written identity of the keyed call of `name` in the scope `path`."""
    return f"{path}:{escape(name)}#={key}"


def idempotency_key(run_id: str, identity: str) -> str:
    """Return the key that one step of one run sends to other systems: the same at every attempt and replay."""
    return blake2b(f"{run_id}/{identity}".encode(), digest_size=16).hexdigest()


def child_id(parent: str, run_index: int, identity: str) -> str:
    """Return the id of the execution that a call of the parent's run starts: `parent~RUN/identity`, no RUN for run 0.

    Users' ids have no `~`, so it is nobody else's. One that is too long is cut, and ends with a hash of the whole.
    """
    text = f"{parent}~{run_index or ''}/{identity}"
    if len(text) <= MAX_ID:
        return text
    digest = blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{text[: MAX_ID - len(digest) - 1]}~{digest}"


@dataclass(frozen=True, slots=True)
class Identity:
    """An identity taken apart again. Exactly one of `key` and `occurrence` is given."""

    scope: str
    name: str
    key: str | None
    occurrence: int | None

    @staticmethod
    def parse(text: str) -> Identity:
        """Return the parts of a written identity."""
        scope, _, rest = text.partition(":")
        name, _, tail = rest.partition("#")
        name = name.replace("%23", "#").replace("%25", "%")
        if tail.startswith("="):
            return Identity(scope, name, tail[1:], None)
        return Identity(scope, name, None, int(tail))


def check_name(kind: str, name: object, limit: int = MAX_NAME) -> str:
    """Return `name` if it can be one.

    Raises:
        ConfigurationError: It is no text, empty, longer than `limit` characters, or has control characters.
    """
    what = f"the name of {'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{what} must be a text of 1 to {limit} characters, not {name!r}")
    if len(name) > limit:
        raise ConfigurationError(f"{what} has {len(name)} characters, the limit is {limit}: {name[:40]!r}...")
    if not name.isprintable():
        raise ConfigurationError(f"{what} must not have control characters: {name!r}")
    return name
