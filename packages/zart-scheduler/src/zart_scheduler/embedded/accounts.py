"""The user that the server's programs run as: PostgreSQL refuses root."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zart_scheduler.embedded import failures

_UNPRIVILEGED = ("postgres", "nobody")
_COMMAND_TIMEOUT = 300.0


@dataclass(frozen=True, slots=True)
class Account:
    """A user to run programs as; `drop` says whether that takes giving up root."""

    name: str
    uid: int
    gid: int
    drop: bool

    @property
    def owner(self) -> tuple[int, int]:
        """The pair that chown takes."""
        return self.uid, self.gid

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = Path("/"),
        keep_open: Sequence[int] = (),
    ) -> tuple[int, str]:
        """Run a program to its end and return its exit status and what it wrote.

        The output goes to a file, not a pipe: a daemon left behind would hold a pipe open for ever.

        Raises:
            OSError: The program cannot be executed by this user.
        """
        # Nothing meant for clients of some other server may reach this one's programs.
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        # English, so that "No space left on device" can be told from the rest.
        clean |= {"LC_ALL": "C", "TZ": "UTC"} | dict(env or {})
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean,
                cwd=cwd,
                check=False,
                pass_fds=keep_open,
                start_new_session=True,
                timeout=_COMMAND_TIMEOUT,
                user=self.uid if self.drop else None,
                group=self.gid if self.drop else None,
                extra_groups=[] if self.drop else None,
                umask=0o077,
            )
            output.seek(0)
            return done.returncode, output.read().decode(errors="replace")


def account_for(data: Path) -> Account:
    """Return who runs the server on `data`: this user, or as root the data's owner, `postgres` or `nobody`."""
    if os.geteuid() != 0:
        return Account(str(os.geteuid()), os.geteuid(), os.getegid(), drop=False)
    if data.is_dir() and (owner := data.stat()).st_uid != 0:
        return Account(_name_of(owner.st_uid), owner.st_uid, owner.st_gid, drop=True)
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid, drop=True)
    raise failures.no_account()


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
