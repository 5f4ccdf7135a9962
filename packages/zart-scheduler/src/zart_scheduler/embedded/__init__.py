"""A PostgreSQL of one's own for development, tests and small deployments: no installation, no port, no password.

`embedded:` in place of a database URL means this server in its default directory, `embedded:/dir` one in `/dir`.
The first user starts it, the others attach. It outlives them all, listens on a Unix socket in a private directory
only, and comes back after `kill -9` of any process or of the machine.
"""

from zart_scheduler.embedded.launcher import EmbeddedServer, EmbeddedStatus, resolve, start, status, stop

__all__ = ["EmbeddedServer", "EmbeddedStatus", "resolve", "start", "status", "stop"]
