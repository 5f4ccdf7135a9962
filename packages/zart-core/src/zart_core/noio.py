"""What a body's loop refuses: everything that would touch the outside world (L13)."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any, NoReturn

from zart_core.errors import UsageError


class LoopWithoutIO(AbstractEventLoop):
    """An event loop on which all I/O fails at once, with a text that says where it belongs."""


def _refuse(name: str) -> Callable[..., NoReturn]:
    def refuse(_self: LoopWithoutIO, *_args: Any, **_options: Any) -> NoReturn:
        raise UsageError(
            f"a workflow's body did I/O ({name}): a body is replayed, so it must not touch the outside world; "
            f"do I/O in a step (or in capture), and await that from the body"
        )

    refuse.__name__ = name
    return refuse


for _name in [
    "add_reader",
    "add_writer",
    "remove_reader",
    "remove_writer",
    "add_signal_handler",
    "remove_signal_handler",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "sendfile",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
]:
    setattr(LoopWithoutIO, _name, _refuse(_name))
