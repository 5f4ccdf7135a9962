"""Who does what is noted in `zart_audit`."""

from __future__ import annotations

import getpass
import socket
from contextlib import suppress


def this_process() -> str:
    """Return who acts when nobody is named: the user and host of this process."""
    user = "somebody"
    with suppress(Exception):  # a container's user may have no name
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"
