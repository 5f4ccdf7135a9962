"""Where the embedded server keeps what.

DIRECTORY/start.lock    one starter at a time
DIRECTORY/server.lock   held by every process of the server, through a descriptor they inherit
DIRECTORY/18/           the data, named by PostgreSQL's major version
DIRECTORY/run/          socket and log, private to the server's user
DIRECTORY/programs/     copies of the programs, where the server's user cannot reach the installed ones
"""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from zart_core.errors import ConfigurationError
from zart_scheduler.embedded import failures

SCHEME = "embedded:"
DATABASE = "zart"
SUPERUSER = "zart"
_SOCKET = ".s.PGSQL.5432"
_SCRATCH = ".making-"
# sockaddr_un holds 104 bytes on macOS and 108 on Linux.
_LONGEST_SOCKET_PATH = 100
_AWKWARD = frozenset(" ,'\"\\$`\n")


def directory_of(url_or_directory: str | Path | None) -> Path:
    """Return the directory that `embedded:`, `embedded:/dir`, a directory or None stands for."""
    text = os.fspath(url_or_directory) if url_or_directory is not None else ""
    text = text.removeprefix(SCHEME)
    if not text:
        return default_directory()
    if text.startswith("//"):
        raise ConfigurationError(
            f"{SCHEME}{text} is not a directory: write {SCHEME} or {SCHEME}/absolute/directory"
        )
    return Path(text).expanduser().absolute()


def default_directory() -> Path:
    """Return ZART_STATE_DIR, else root's or the user's place for data."""
    if chosen := os.environ.get("ZART_STATE_DIR"):
        return Path(chosen).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/zart")
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / "zart"
    if (data := Path(os.environ.get("XDG_DATA_HOME", ""))).is_absolute():
        return data / "zart"
    return _home() / ".local" / "share" / "zart"


def _home() -> Path:
    try:
        return Path(os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise ConfigurationError(
            "this user has no home directory: set ZART_STATE_DIR to a directory"
        ) from None


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths under one directory."""

    directory: Path

    @property
    def start_lock(self) -> Path:
        """The lock of whoever starts or stops the server."""
        return self.directory / "start.lock"

    @property
    def server_lock(self) -> Path:
        """The lock that every process of the server holds."""
        return self.directory / "server.lock"

    @property
    def programs(self) -> Path:
        """Where copies of the programs go, by version."""
        return self.directory / "programs"

    @property
    def run(self) -> Path:
        """What only the server's user may enter."""
        return self.directory / "run"

    @property
    def log(self) -> Path:
        """What the server writes about itself."""
        return self.run / "server.log"

    def data(self, major: int) -> Path:
        """The data directory of one major version."""
        return self.directory / str(major)

    def majors(self) -> list[int]:
        """Return the major versions whose data is here, oldest first."""
        try:
            entries = list(self.directory.iterdir())
        except OSError:
            return []
        return sorted(int(e.name) for e in entries if e.name.isdecimal() and (e / "PG_VERSION").exists())

    def scratch(self, major: int, owner: int) -> Path:
        """Return the directory to make data in; it becomes `data(major)` when it is complete."""
        return self.directory / f"{_SCRATCH}{major}-{owner}"

    def scratches(self) -> list[Path]:
        """Return what starters left that died while making data or copying programs."""
        return [entry for entry in self.directory.iterdir() if entry.name.startswith(_SCRATCH)]

    @property
    def socket_directory(self) -> Path:
        """`run`, or a short name in /tmp where the socket's path would be too long or need quoting."""
        text = str(self.run / _SOCKET)
        if len(os.fsencode(text)) <= _LONGEST_SOCKET_PATH and not _AWKWARD & set(text):
            return self.run
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path("/tmp") / f"zart-{name}"  # noqa: S108 - private, and checked to be so before use

    @property
    def socket(self) -> Path:
        """The socket itself; its name holds the port, which is nothing else here."""
        return self.socket_directory / _SOCKET

    def conninfo(self, database: str = DATABASE) -> str:
        """Return a URL for `database`; the port only names the socket's file."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.socket_directory), safe='')}&port=5432"


def make_directory(
    path: Path, mode: int, owner: tuple[int, int] | None = None, *, parents: bool = False
) -> None:
    """Make `path` if it is missing, with exactly `mode` and `owner`; leave an existing one as it is."""
    if path.is_dir() and not path.is_symlink():
        return
    if parents and not path.parent.exists():
        make_directory(path.parent, mode, owner, parents=True)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if path.is_symlink() and path.is_dir():
            return
        if not path.is_dir():
            raise
        return
    # Only what was made here a moment ago changes hands: never someone else's directory.
    if owner is not None and os.geteuid() == 0:
        os.chown(path, *owner, follow_symlinks=False)
    path.chmod(mode)


def check_private(path: Path, uid: int) -> None:
    """Refuse a socket directory that is not `uid`'s own and closed to all others."""
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != uid or facts.st_mode & 0o077:
        raise failures.socket_directory_taken(path)
