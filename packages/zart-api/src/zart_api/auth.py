"""Who may use the API: bearer keys or the host's own check, and no web page of another site."""

from __future__ import annotations

import hashlib
import hmac
import inspect
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import SplitResult, urlsplit

from fastapi import Request

from zart_api.problems import RefusedError
from zart_core.errors import ConfigurationError

Authenticate: TypeAlias = Callable[[Request], "bool | Awaitable[bool]"]
"""Decides whether a request may pass. Anything but True is a no; an exception is answered with 500."""

_SHORT: Final = 16
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_PAGES: Final = frozenset({"same-origin", "none"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys that open the API; only their hashes are kept. Made by `KeyRing.parse`."""

    _hashes: tuple[bytes, ...] = field(repr=False)

    @staticmethod
    def parse(text: str) -> KeyRing:
        """Return the keys of `text`, which has commas between them. An empty text holds none.

        Raises:
            ConfigurationError: A key is empty, or holds white space, a control character or a letter outside ASCII.
        """
        keys = text.split(",") if text else []
        for number, key in enumerate(keys, start=1):
            _check(key, number)
        return KeyRing(tuple(_digest(key) for key in keys))

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def opens(self, key: str) -> bool:
        """Return whether `key` is one of them; takes as long whichever it is."""
        digest = _digest(key)
        return sum(hmac.compare_digest(digest, known) for known in self._hashes) > 0


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands before every route under /v1.

    Attributes:
        keys: Bearer keys; not asked if there is `authenticate`.
        authenticate: The host's own check.
        hosts: The names under which the API may be asked, None for any: without keys, a page whose name was
            pointed at this machine must not reach it.
    """

    keys: KeyRing
    authenticate: Authenticate | None = None
    hosts: frozenset[str] | None = None

    @staticmethod
    def from_environment(authenticate: Authenticate | None = None) -> Guard:
        """Return the guard with the keys of ZART_API_KEYS.

        Raises:
            ConfigurationError: One of them cannot be a key.
        """
        return Guard(KeyRing.parse(os.environ.get("ZART_API_KEYS", "")), authenticate)

    @property
    def is_open(self) -> bool:
        """Whether anyone who reaches the API may use it."""
        return self.authenticate is None and not self.keys

    async def admit(self, request: Request) -> None:
        """Let the request pass.

        Raises:
            RefusedError: 401 without a valid key, 403 for a page of another site.
        """
        self._check_host(request)
        _check_origin(request)
        if self.authenticate is not None:
            verdict = self.authenticate(request)
            if (await verdict if inspect.isawaitable(verdict) else verdict) is not True:
                raise _unauthorised("the request was not admitted", tried="authorization" in request.headers)
        elif self.keys:
            self._check_key(request.headers.get("authorization"))

    def _check_key(self, header: str | None) -> None:
        if header is None:
            raise _unauthorised("send a key in the header: Authorization: Bearer <key>", tried=False)
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer" or not self.keys.opens(key.strip()):
            raise _unauthorised("the key in the header Authorization is not valid", tried=True)

    def _check_host(self, request: Request) -> None:
        name = _split(f"//{request.headers.get('host', '')}").hostname or ""
        if self.hosts is not None and name not in self.hosts:
            raise RefusedError(
                403,
                f"without keys the API answers to local names only, not to {name!r}; set ZART_API_KEYS to use it",
            )


def _check_origin(request: Request) -> None:
    """Refuse what a browser sends on behalf of another site's page; anything but a browser says neither header."""
    if request.method in _SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is not None:
        site = "same-origin" if _split(origin).netloc == request.headers.get("host") else "cross-site"
    if site is not None and site not in _OWN_PAGES:
        raise RefusedError(403, "pages of other sites cannot use the API; call it from a server")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _unauthorised(detail: str, *, tried: bool) -> RefusedError:
    challenge = 'Bearer realm="zart"' + (', error="invalid_token"' if tried else "")
    return RefusedError(401, detail, headers={"WWW-Authenticate": challenge})


def _check(key: str, number: int) -> None:
    if not key:
        reason = "is empty: remove the extra comma"
    elif any(character.isspace() or not character.isprintable() for character in key):
        reason = "holds white space or a control character: keys stand side by side with one comma between"
    elif not key.isascii():
        reason = "holds a character outside ASCII, which no HTTP header carries"
    else:
        if len(key) < _SHORT:
            _log.warning(
                "key %d of ZART_API_KEYS is shorter than %d characters and can be guessed", number, _SHORT
            )
        return
    raise ConfigurationError(f"key {number} of ZART_API_KEYS {reason}")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
