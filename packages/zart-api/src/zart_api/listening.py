"""Where the API listens: addresses, and never beyond loopback if it is open to everyone."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final, TypeAlias

from zart_api.auth import Guard
from zart_core.errors import ConfigurationError

HOST: Final = "127.0.0.1"
PORT: Final = 8080

Address: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]

_BACKLOG: Final = 2048
_MAX_PORT: Final = 65_535
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOW_TO_CHOOSE: Final = "choose with --host and --port, or ZART_API_HOST and ZART_API_PORT"


def addresses(host: str | None, port: int | None) -> list[Address]:
    """Return the addresses of `host`; what is None comes from ZART_API_HOST and ZART_API_PORT.

    Raises:
        ConfigurationError: The host has no address, or the port is none.
    """
    name = host or os.environ.get("ZART_API_HOST") or HOST
    number = _port(os.environ.get("ZART_API_PORT") or str(PORT)) if port is None else port
    try:
        found = socket.getaddrinfo(name, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, OverflowError, UnicodeError) as error:
        raise _cannot_listen(name, number, error) from error
    return list(dict.fromkeys((family, address) for family, *_, address in found))


def guarded(guard: Guard, found: list[Address], *, insecure: bool) -> Guard:
    """Return the guard to listen at these addresses with.

    One that asks for no key answers to local names only, so that no web page reaches it under a name of its own.

    Raises:
        ConfigurationError: It asks for no key, not all addresses are loopback, and `insecure` does not allow that.
    """
    if not guard.is_open:
        return guard
    hosts = [ipaddress.ip_address(address[0]) for _, address in found]
    if all(host.is_loopback for host in hosts):
        return replace(guard, hosts=_LOCAL_NAMES | {str(host) for host in hosts})
    if insecure:
        return guard
    shown = ", ".join(str(host) for host in hosts if not host.is_loopback)
    raise ConfigurationError(
        f"refusing to listen at {shown} without keys, as anyone who reaches it could start and cancel executions: "
        f"set ZART_API_KEYS to one or more keys with commas between, listen at {HOST}, or pass --insecure"
    )


@contextmanager
def bound(found: list[Address]) -> Iterator[list[socket.socket]]:
    """Listen at the addresses, all with one port; who connects before the server runs waits for it.

    Raises:
        ConfigurationError: An address is taken, or not allowed.
    """
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        for family, (host, port, *rest) in found:
            same = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(stack.enter_context(_bind(family, (host, same, *rest))))
            except OSError as error:
                raise _cannot_listen(host, same, error) from error
        yield sockets


def url_of(listener: socket.socket) -> str:
    """Return the URL at which `listener` can be asked from this machine."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1" if listener.family == socket.AF_INET else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise ConfigurationError(f"ZART_API_PORT is {text!r}; it must be a port, 0 to {_MAX_PORT}")
    return int(text)


def _bind(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _cannot_listen(host: str, port: int, error: Exception) -> ConfigurationError:
    reason = getattr(error, "strerror", None) or str(error)
    return ConfigurationError(f"cannot listen at {host}, port {port}: {reason}; {_HOW_TO_CHOOSE}")
