"""`zart`, `python` and `pytest` for pages, without the second or two that Python needs to import what they are made of.

A server imports everything once and forks for each command; a shim that stands first on PATH hands it arguments,
environment, directory and the three standard streams, passes signals on, and leaves with the command's exit code.
What runs is the command's own `main`, in a process of its own.

    python -m tests.docs.preloaded SOCKET     the server
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

PROGRAMS = ("zart", "python", "pytest")
MODULES = (
    "alembic.command",
    "fastapi",
    "pytest",
    "sqlalchemy.dialects.postgresql",
    "zart_api",
    "zart_cli.app",
    "zart_cli.development",
    "zart_cli.working",
    "zart_decorators",
    "zart_scheduler.embedded",
)
"""What the programs import, some of it late."""

SHIM = """#!{python} -IS
import json, os, signal, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({socket!r})
job = json.dumps([{program!r}, sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
socket.send_fds(link, [len(job).to_bytes(8, "big")], [0, 1, 2])
link.sendall(job)
answers = link.makefile()
pid = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda n, frame: os.kill(pid, n))
code = int(answers.readline())
os._exit(code if code >= 0 else 128 - code)
"""


class Job(NamedTuple):
    """One command."""

    program: str
    args: list[str]
    environment: dict[str, str]
    directory: str


def write_shims(directory: Path, socket_path: Path) -> None:
    """Make the programs that ask the server at `socket_path`."""
    for program in PROGRAMS:
        path = directory / program
        path.write_text(SHIM.format(python=sys.executable, socket=str(socket_path), program=program))
        path.chmod(0o755)


def main() -> None:
    """Serve; in a forked process, return from that and be the command."""
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()  # what is forked need not look at all this again
    job = _serve(sys.argv[1])
    try:
        _do(job)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking down an interpreter with all these modules takes longer than most commands


def _do(job: Job) -> None:
    os.environ.clear()
    os.environ.update(job.environment)
    os.chdir(job.directory)
    sys.argv = [job.program, *job.args]
    match job.program:
        case "zart":
            sys.orig_argv = [
                sys.executable,
                "-m",
                "zart_cli",
                *job.args,
            ]  # what a reload of `zart dev` becomes
            importlib.import_module("zart_cli.app").main()
        case "pytest":
            sys.path.insert(0, job.directory)
            # It would rather have imported its plugins itself.
            pytest = importlib.import_module("pytest")
            sys.exit(pytest.main(["-W", "ignore::pytest.PytestAssertRewriteWarning", *job.args]))
        case _:
            sys.argv = job.args
            sys.path[0] = str(Path(job.args[0]).resolve().parent)
            runpy.run_path(job.args[0], run_name="__main__")


def _serve(path: str) -> Job:
    """Fork for each job that comes; return it in the process that is to do it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    while True:
        link, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _receive(link)
        link.close()


def _receive(link: socket.socket) -> Job:
    """Read the job, fork once more: the parent tells the shim how it goes, the child returns to do it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    head, streams, _, _ = socket.recv_fds(link, 8, 3)
    job = Job(*json.loads(_read(link, int.from_bytes(head, "big"))))
    pid = os.fork()
    if pid:
        for stream in streams:
            os.close(stream)
        link.sendall(f"{pid}\n".encode())
        link.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
        os._exit(0)
    link.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    return job


def _read(link: socket.socket, size: int) -> bytes:
    data = array.array("B")
    while len(data) < size:
        data.frombytes(link.recv(size - len(data)))
    return data.tobytes()


if __name__ == "__main__":
    main()
