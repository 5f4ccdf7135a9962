"""Workers as processes of their own, that tests kill, stop and replace, and a ledger of what their steps did.

async def test_a_kill_does_not_repeat_a_recorded_step(cluster: Cluster) -> None:
    victim = await cluster.worker(crash_at="after-commit:charge")
    await victim.died()
    ...
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

LEDGER = "ZART_TEST_LEDGER"
"""The environment variable that tells steps where the ledger is."""

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
LEASE = 1.0


async def until(condition: Callable[[], Any], *, within: float = PATIENCE, what: str = "a condition") -> Any:
    """Wait until `condition` (sync or async) gives something true, and return that."""
    deadline = time.monotonic() + within
    while True:
        found = condition()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {within:g} s in vain for {what}"
        await asyncio.sleep(0.01)


class Nursery:
    """The process that forks workers; one for all tests of this process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "ZART_TESTING": "1"},
        )

    def start(self, request: dict[str, Any]) -> int:
        """Fork a worker; return its pid."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it and whatever it has forked."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()


class WorkerProcess:
    """One worker process."""

    def __init__(self, pid: int, files: Path) -> None:
        self.pid, self._files = pid, files

    @property
    def is_ready(self) -> bool:
        """Whether it has registered itself and looked for work once."""
        return self._file("ready").exists()

    @property
    def exit_status(self) -> int | None:
        """Its exit status, the negative number of the signal that killed it, or None while it lives."""
        with contextlib.suppress(FileNotFoundError):
            return int(self._file("exit").read_text())
        return None

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return self._file("log").read_text() if self._file("log").exists() else ""

    async def ready(self) -> None:
        """Wait until it is ready."""
        await until(lambda: self.is_ready or self.exit_status is not None, what="a worker to be ready")
        assert self.is_ready, f"the worker ended with {self.exit_status}:\n{self.log}"

    async def ended(self, within: float = PATIENCE) -> int:
        """Wait until it has ended; return its exit status."""
        await until(lambda: self.exit_status is not None, within=within, what="a worker to end")
        assert self.exit_status is not None
        return self.exit_status

    async def died(self) -> None:
        """Wait until it was killed by the crash point that it was armed with."""
        assert await self.ended() == -signal.SIGKILL, self.log

    async def stopped(self) -> None:
        """Wait until it stands still."""
        await until(lambda: Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")

    def signal(self, number: int) -> None:
        """Send a signal to it."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGSTOP: it freezes, with all its threads."""
        self.signal(signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT: it goes on as if nothing had happened."""
        self.signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM: it stops gracefully."""
        self.signal(signal.SIGTERM)

    def _file(self, kind: str) -> Path:
        return self._files.with_suffix(f".{kind}")


class Cluster:
    """Worker processes on one database, and the ledger of their steps."""

    def __init__(self, url: str, directory: Path, nursery: Callable[[], Nursery]) -> None:
        self.url, self.workers = url, list[WorkerProcess]()
        self._directory, self._nursery = directory, nursery
        self.ledger_file = directory / "ledger"
        self.ledger_file.touch()

    # -- workers

    async def worker(
        self,
        *,
        crash_at: str | None = None,
        skew: float = 0,
        wait: bool = True,
        url: str | None = None,
        **config: Any,
    ) -> WorkerProcess:
        """Start a worker process and wait until it is ready; one with a crash point is not waited for.

        Args:
            crash_at: Where it gets SIGKILL: `point[:step[#nth]]`.
            skew: Seconds by which its wall clock is off.
            wait: Whether to wait until it is ready.
            url: How it reaches the database, if not as the tests do.
            config: Of its WorkerConfig.
        """
        files = self._directory / f"worker-{len(self.workers)}"
        request = {
            "url": url or self.url,
            "files": str(files),
            "environment": {
                LEDGER: str(self.ledger_file),
                "ZART_TESTING": "1",
                "ZART_CRASH_AT": crash_at or "",
            },
            "skew": skew,
            "config": {"lease": LEASE, "poll_interval": "100ms", **config},
        }
        worker = WorkerProcess(self._nursery().start(request), files)
        self.workers.append(worker)
        if wait and crash_at is None:
            await worker.ready()
        return worker

    async def replace_worker(self, **config: Any) -> WorkerProcess:
        """Kill the latest worker and start another."""
        if self.workers[-1].exit_status is None:
            self.workers[-1].kill()
            await self.workers[-1].ended()
        return await self.worker(**config)

    def close(self) -> None:
        """End all workers, and show what they have written."""
        for worker in self.workers:
            if worker.exit_status is None:
                worker.kill()
        for worker in self.workers:
            print(f"--- worker {worker.pid}, exit status {worker.exit_status}\n{worker.log}", file=sys.stderr)

    # -- what has happened

    def effects(self, execution_id: str | None = None) -> list[str]:
        """Return the names of the steps that took effect, in order."""
        return [entry["step"] for entry in self.entries(execution_id)]

    def entries(self, execution_id: str | None = None) -> list[dict[str, Any]]:
        """Return the ledger's entries: step, execution, attempt, pid, at (monotonic seconds)."""
        entries = [json.loads(line) for line in self.ledger_file.read_text().splitlines()]
        return [entry for entry in entries if execution_id in (None, entry["execution"])]

    async def rows(self, query: str, **params: Any) -> list[dict[str, Any]]:
        """Return what a query gives."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.cursor(row_factory=dict_row).execute(query.encode(), params)
            return await cursor.fetchall() if cursor.description else []

    async def value(self, query: str, **params: Any) -> Any:
        """Return the only value of a query's first row; None without a row."""
        found = await self.rows(query, **params)
        return next(iter(found[0].values())) if found else None

    @contextlib.asynccontextmanager
    async def holding(self, query: str, **params: Any) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Keep a transaction open in which `query` was run."""
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            await connection.execute(query.encode(), params)
            yield connection

    async def disconnect(self, *names: str) -> int:
        """Terminate the back ends of these application names; return how many."""
        query = """SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = ANY (%(names)s)"""
        return int(await self.value(query, names=list(names)))


@pytest.fixture(scope="session")
def nursery() -> Iterator[Callable[[], Nursery]]:
    """Give the process that forks workers; started by the first test that needs it."""
    made: list[Nursery] = []

    def get() -> Nursery:
        if not made:
            made.append(Nursery())
        return made[0]

    yield get
    for each in made:
        each.close()


@pytest.fixture
def cluster(
    database_url: str, tmp_path: Path, nursery: Callable[[], Nursery], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    """Give worker processes on a fresh database. Steps that this process runs write to the same ledger."""
    cluster = Cluster(database_url, tmp_path, nursery)
    monkeypatch.setenv(LEDGER, str(cluster.ledger_file))
    yield cluster
    cluster.close()
