"""Several sessions on one database, and short words for what workers and users do in them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import tuple_row

from zart_core.spi import Delivered
from zart_scheduler.store import executions, steps, tasks, workers
from zart_scheduler.store.statement import Statement, run_sync
from zart_scheduler.store.steps import FlushRow
from zart_scheduler.store.tasks import Claimed, Handler

T = TypeVar("T")
Items: TypeAlias = list[dict[str, Any]]
Groups: TypeAlias = dict[str, Items]
PATIENCE = 20.0
HANDLERS = (Handler("wf", "1", current=True, timeout=None),)


def turn(epoch: int, number: int) -> int:
    return (epoch << 32) | number


class Pending(Generic[T]):
    """Work that another thread does in a session, and perhaps waits with."""

    def __init__(self, session: Session, work: Callable[[], T]) -> None:
        self._session, self._work = session, work
        self._result: list[T] = []
        self._error: list[Exception] = []
        self._thread = threading.Thread(target=self._do, daemon=True)
        self._thread.start()

    def _do(self) -> None:
        try:
            self._result.append(self._work())
        except Exception as error:
            self._error.append(error)

    def blocked(self) -> bool:
        """Whether it waits for a lock: True as soon as the server says so, False as soon as it is done."""
        return self._session.waits_for_a_lock(self._thread)

    def join(self) -> None:
        self._thread.join(PATIENCE)

    def result(self) -> T:
        self.join()
        assert not self._thread.is_alive(), "still waiting"
        if self._error:
            raise self._error[0]
        return self._result[0]


class Session:
    """One connection. Without autocommit its transaction stays open until `commit` or `rollback`."""

    def __init__(self, url: str, *, autocommit: bool) -> None:
        self.connection = psycopg.connect(
            url, autocommit=autocommit, prepare_threshold=None, row_factory=tuple_row
        )
        self._watch = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        self._pending: list[Pending[Any]] = []

    def do(self, statement: Statement[T]) -> T:
        return run_sync(self.connection, statement)

    def sql(self, text: str, *args: object) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(text.encode(), args or None)
        return cursor.fetchall() if cursor.description else []

    def later(self, statement: Statement[T]) -> Pending[T]:
        return self._begin(lambda: self.do(statement))

    def sql_later(self, text: str, *args: object) -> Pending[list[tuple[Any, ...]]]:
        return self._begin(lambda: self.sql(text, *args))

    def _begin(self, work: Callable[[], T]) -> Pending[T]:
        pending = Pending(self, work)
        self._pending.append(pending)
        return pending

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()

    def waits_for_a_lock(self, thread: threading.Thread) -> bool:
        deadline = time.monotonic() + PATIENCE
        while thread.is_alive() and time.monotonic() < deadline:
            row = self._watch.execute(
                "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND wait_event_type = 'Lock'",
                (self.connection.info.backend_pid,),
            ).fetchone()
            if row:
                return True
            thread.join(0.005)
        return False

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._watch.execute("SELECT pg_terminate_backend(%s)", (self.connection.info.backend_pid,))
        for pending in self._pending:
            pending.join()  # a connection is not closed under a thread that uses it
        self.connection.close()
        self._watch.close()


class Scene:
    """A database with the schema, an administrator's session, and any number of others."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._sessions: list[Session] = []
        self._originals: list[str] = []
        self.admin = self.session()
        self.sql, self.do = self.admin.sql, self.admin.do
        self.sql("SET lock_timeout = '3s'")  # what the test itself does is never meant to wait

    def session(self) -> Session:
        """A session whose every statement commits at once."""
        self._sessions.append(Session(self.url, autocommit=True))
        return self._sessions[-1]

    def transaction(self) -> Session:
        """A session that commits when told to."""
        self._sessions.append(Session(self.url, autocommit=False))
        return self._sessions[-1]

    def close(self) -> None:
        for session in self._sessions[1:]:
            session.close()
        for definition in self._originals:
            self.sql(definition)
        self.admin.close()

    def empty(self) -> None:
        names = [
            name
            for (name,) in self.sql(
                "SELECT relname FROM pg_class WHERE relname LIKE 'zart%' AND relkind = 'r'"
            )
        ]
        self.sql("TRUNCATE " + ", ".join(name for name in names if name != "zart_schema_version"))

    def worker(self, lease: float = 3600.0) -> UUID:
        worker_id = uuid4()
        self.do(
            workers.register(
                worker_id, lease=lease, name="w", host="h", pid=1, queues=[], workflows=[], version="0"
            )
        )
        return worker_id

    def start(self, **options: Any) -> UUID:
        """Start a run of `wf`; the execution's id is the run's, as text."""
        run_id = uuid4()
        options = {"input_hash": b"h", "input": b"{}"} | options
        started = self.do(executions.start(str(run_id), run_id, options.pop("workflow", "wf"), **options))
        assert started.status == "created"
        return run_id

    def claim(self, worker: UUID, **options: Any) -> list[Claimed]:
        found = self.do(claim(worker, **options))
        assert found is not None, "fenced"
        return found

    def claimed_run(self, worker: UUID, **options: Any) -> UUID:
        """A run that `worker` owns by epoch 1."""
        run_id = self.start(**options)
        assert [task.run_id for task in self.claim(worker)] == [run_id]
        return run_id

    def flush(
        self, worker: UUID, groups: Groups | None = None, *, resend: bool = False, **more: Items
    ) -> list[FlushRow]:
        return self.do(flush(worker, groups, resend=resend, **more))

    def deliver(
        self, run_id: UUID, name: str = "x", payload: bytes = b"7", key: str | None = None
    ) -> Delivered:
        return self.do(executions.deliver(str(run_id), name, payload=payload, key=key))

    def journal(self, run_id: UUID) -> dict[str, tuple[str, int | None]]:
        """Outcome and turn of every record, by identity."""
        rows = self.sql(
            "SELECT ident, outcome::text, turn FROM zart_steps WHERE run_id = %s ORDER BY ident", run_id
        )
        return {ident: (outcome, given) for ident, outcome, given in rows}

    def task(self, run_id: UUID, columns: str = "state::text") -> Any:
        rows = self.sql(f"SELECT {columns} FROM zart_tasks WHERE task_id = %s", run_id)
        return (rows[0] if len(rows[0]) > 1 else rows[0][0]) if rows else None

    def run_state(self, run_id: UUID) -> str:
        return str(self.sql("SELECT state FROM zart_run_states WHERE run_id = %s", run_id)[0][0])

    def mailbox(self, run_id: UUID) -> dict[bytes, str | None]:
        """Which call has each event, by payload; None: it lies in the mailbox."""
        rows = self.sql(
            "SELECT payload, consumed_ident FROM zart_events WHERE execution_id = %s ORDER BY event_id",
            str(run_id),
        )
        return dict(rows)

    def expire(self, worker: UUID) -> None:
        """Let a worker's lease be over."""
        self.sql(
            "UPDATE zart_workers SET lease_expires_at = clock_timestamp() - interval '1 hour' WHERE worker_id = %s",
            worker,
        )

    def wait_past(self, time: str) -> None:
        """Return when the database's clock has passed what the query `time` tells."""
        self.sql(f"SELECT pg_sleep(greatest(0, extract(epoch FROM ({time}) - clock_timestamp()))::float8)")

    def bury(self, worker: UUID) -> None:
        """Take everything from a worker, as the sweeper does."""
        self.expire(worker)
        assert worker in self.do(workers.mark_dead(3600.0))
        self.do(tasks.requeue_dead(100))

    def mutate(self, function: str, old: str, new: str) -> None:
        """Replace a line of a function until the scene is closed."""
        (definition,) = self.sql("SELECT pg_get_functiondef(%s::regproc)", function)[0]
        assert old in definition, f"{function} does not contain {old!r}"
        self._originals.append(definition)
        self.sql(definition.replace(old, new))


def claim(
    worker: UUID,
    *,
    limit: int = 50,
    handlers: Iterable[Handler] = HANDLERS,
    queue: str = "default",
    suspects: bool = False,
) -> Statement[list[Claimed] | None]:
    return tasks.claim(
        worker, uuid4(), queues=[queue], handlers=list(handlers), limit=limit, suspects=suspects
    )


def flush(
    worker: UUID, groups: Groups | None = None, *, resend: bool = False, **more: Items
) -> Statement[list[FlushRow]]:
    """A checkpoint; `steps` are the plain records, every other name a group of `zart_flush_v1`."""
    rest = {**(groups or {}), **more}
    plain = rest.pop("steps", None)
    return steps.flush(
        worker,
        json.dumps(plain, default=str) if plain else None,
        json.dumps(rest, default=str) if rest else None,
        resend=resend,
    )


def step(
    run: UUID, ident: str, number: int, *, epoch: int = 1, payload: str = "1", **more: Any
) -> dict[str, Any]:
    given = {"t": run, "e": epoch, "i": ident, "q": number, "k": "s", "o": "o", "n": turn(epoch, number)}
    return given | {"w": None, "u": None, "h": None, "a": 1, "d": 0.5, "p": payload} | more


def nap(run: UUID, ident: str, seconds: float, *, epoch: int = 1) -> dict[str, Any]:
    return step(run, ident, 0, epoch=epoch) | {"k": "z", "n": None, "w": seconds, "p": None, "d": None}


def wait(
    run: UUID,
    ident: str,
    number: int,
    *,
    epoch: int = 1,
    name: str = "x",
    key: str | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    return {
        "t": run,
        "e": epoch,
        "i": ident,
        "q": number,
        "name": name,
        "key": key,
        "w": timeout,
        "n": turn(epoch, number),
    }


def drop(
    run: UUID, ident: str, number: int, *, epoch: int = 1, kind: str = "w", child: str | None = None
) -> dict[str, Any]:
    return {"t": run, "e": epoch, "i": ident, "q": number, "k": kind, "n": turn(epoch, number), "x": child}


def child(
    run: UUID, ident: str, number: int, *, epoch: int = 1, detached: bool = False, **more: Any
) -> dict[str, Any]:
    """Start a child of `run`, whose execution's id is the run's with the call behind it."""
    execution_id = f"{run}~/{ident}"
    given = {"t": run, "e": epoch, "i": ident, "q": number, "n": turn(epoch, number), "x": execution_id}
    workflow = {"name": "wf", "v": "1", "queue": "default", "pr": 0, "p": "{}", "ih": "01", "h": "02"}
    return given | workflow | {"r": uuid4(), "d": f'"{execution_id}"' if detached else None} | more


def collect(run: UUID, number: int, *, epoch: int = 1) -> dict[str, Any]:
    return {"t": run, "e": epoch, "n": turn(epoch, number)}


def park(run: UUID, *awaited: str, epoch: int = 1) -> dict[str, Any]:
    return {"t": run, "e": epoch, "await": list(awaited)}


def end(
    run: UUID, *, epoch: int = 1, state: str = "completed", payload: str | None = '"r"'
) -> dict[str, Any]:
    return {"t": run, "e": epoch, "s": state, "p": payload}


def block(
    run: UUID, details: Mapping[str, Any] | None = None, *, epoch: int = 1, now: bool = True
) -> dict[str, Any]:
    """A run that cannot go on; unless `now`, others are to try first."""
    return {"t": run, "e": epoch, "p": json.dumps(details or {"code": "ZART-D005"}), "now": now}


def spawn(run: UUID, ident: str, *, epoch: int = 1, payload: str = '{"step": "s"}') -> dict[str, Any]:
    return {"t": run, "e": epoch, "i": ident, "q": 1, "s": uuid4(), "p": payload}


def revoke(run: UUID, ident: str, number: int, *, epoch: int = 1) -> dict[str, Any]:
    return {"t": run, "e": epoch, "i": ident, "q": 1, "n": turn(epoch, number)}


def finish(
    task: UUID, *, epoch: int = 1, outcome: str | None = "o", payload: str = "5", hash: str | None = None
) -> dict[str, Any]:
    return {"t": task, "e": epoch, "o": outcome, "p": payload, "h": hash, "a": 2, "d": 0.5}


def delay(task: UUID, seconds: float, *, epoch: int = 1) -> dict[str, Any]:
    return {"t": task, "e": epoch, "w": seconds}


def attempt(
    run: UUID,
    ident: str,
    number: int,
    *,
    epoch: int = 1,
    error: str | None = None,
    retry_in: float | None = None,
    deadline_in: float | None = None,
) -> dict[str, Any]:
    given = {"t": run, "e": epoch, "i": ident, "a": number, "k": "s", "d": 0.5}
    return given | {"x": error, "w": retry_in, "l": deadline_in}


def verdicts(rows: list[FlushRow]) -> list[str]:
    """What a flush answered, in short: `verdict ident` or `verdict`, without what is for no item."""
    assert rows[-1].verdict in {"ok", "fenced"}
    told = rows if rows[-1].verdict == "fenced" else [row for row in rows if row.task is not None]
    return [f"{row.verdict} {row.ident}" if row.ident else row.verdict for row in told]
