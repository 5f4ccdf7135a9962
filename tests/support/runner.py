"""Worker processes for tests, forked from one process that has imported everything: a start costs milliseconds.

`python -m tests.support.runner` reads one request per line, forks a worker for it and answers with its pid. How a
worker ended is written to a file. When its input ends, it kills what is left and goes. It reaps nobody before that,
so that a pid which a test signals is never another process's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import selectors
import signal
import threading
import time
from pathlib import Path
from typing import Any

from tests.support import beating, deposits, families, lawful, spawning, workflows
from zart_core import crashpoints
from zart_scheduler import Client, Worker, WorkerConfig

log = logging.getLogger("zart.test")


def main() -> None:
    children: dict[int, Path] = {}
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    buffer = b""
    with selectors.DefaultSelector() as inputs:
        inputs.register(0, selectors.EVENT_READ)
        inputs.register(wake, selectors.EVENT_READ)
        while True:
            for key, _ in inputs.select():
                data = os.read(key.fd, 65536)
                if key.fd == wake:
                    _note_ends(children)
                elif not data:
                    _end_all(children)
                    return
                else:
                    *lines, buffer = (buffer + data).split(b"\n")
                    for line in lines:
                        _start(json.loads(line), children)


def _start(request: dict[str, Any], children: dict[int, Path]) -> None:
    pid = os.fork()
    if pid == 0:
        _become_worker(request)
    children[pid] = Path(request["files"] + ".exit")
    os.write(1, b"%d\n" % pid)


def _note_ends(children: dict[int, Path]) -> None:
    for pid, file in children.items():
        end = None if file.exists() else os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is not None:
            status = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
            scratch = file.with_suffix(".scratch")
            scratch.write_text(str(status))
            scratch.rename(file)


def _end_all(children: dict[int, Path]) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _become_worker(request: dict[str, Any]) -> None:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _redirect(request["files"] + ".log")
        _set_up(request)
        asyncio.run(_work(request))
        code = 0
    except BaseException:
        log.exception("the worker failed")
    # As an interpreter exits: when the threads that steps run in have ended.
    threading._shutdown()  # type: ignore[attr-defined] # what the interpreter itself calls
    os._exit(code)


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    lines = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for target, source in enumerate((nothing, lines, lines)):
        os.dup2(source, target)


def _set_up(request: dict[str, Any]) -> None:
    os.environ.update(request["environment"])
    crashpoints._trap = crashpoints.armed(os.environ)
    logging.basicConfig(level=logging.DEBUG, format="%(relativeCreated)d %(levelname)s %(message)s")
    for name in ("psycopg", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if request["skew"]:
        _skew_clock(request["skew"])


def _skew_clock(seconds: float) -> None:
    """Set this process's wall clock off."""
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + round(seconds * 1e9)


async def _work(request: dict[str, Any]) -> None:
    async with Client(request["url"]) as client:
        sources = (workflows, families, lawful, deposits, beating, spawning)
        worker = Worker(client, *sources, config=WorkerConfig(**request["config"]))
        run = asyncio.create_task(worker.run())
        ready = asyncio.create_task(worker.ready())
        await asyncio.wait({run, ready}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            Path(request["files"] + ".ready").touch()
        ready.cancel()
        await run


if __name__ == "__main__":
    main()
