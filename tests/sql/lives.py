"""What people do to executions, in short words, and runs for them to do it to."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from tests.sql.scene import Items, Scene, end, step, verdicts

from zart_core.spi import Started
from zart_scheduler.store import executions, life
from zart_scheduler.store.life import Changed, Request
from zart_scheduler.store.statement import Statement

ERROR = json.dumps({"type": "m:Declined", "message": "no", "kind": "error"})
OTHER = json.dumps({"type": "m:Other", "message": "no", "kind": "error"})


def failed(run: UUID, ident: str, number: int, error: str = ERROR, **more: Any) -> dict[str, Any]:
    return step(run, ident, number, payload=error, **more) | {"o": "e"}


def request(key: str | None = None, **asked: Any) -> Request:
    return Request(key or str(uuid4()), "somebody", {"reason": None, **asked})


def restart(run: UUID, **more: Any) -> Statement[Changed]:
    new = uuid4()
    return life.restart(str(run), new, more.pop("request", request(str(new))), **more)


def rerun(run: UUID, steps: list[str] | None = None, keep: list[str] | None = None) -> Statement[Changed]:
    new = uuid4()
    return life.rerun(str(run), new, request(str(new)), steps=steps, keep=keep)


def fork(run: UUID, step: str, new_id: str | None = None, key: str | None = None) -> Statement[Changed]:
    new_id = new_id or str(uuid4())
    return life.fork(
        str(run),
        str(run),
        request(key, step=step),
        new_id=new_id,
        run_id=uuid4(),
        step=step,
        input=b'{"n":1}',
        input_hash=b"n",
    )


def retry(run: UUID, name: str | None = None, key: str | None = None) -> Statement[Changed]:
    return life.retry_step(str(run), request(key), name)


def again(run: UUID, new: UUID, *, in_callers: bool = False, **more: Any) -> Statement[Started]:
    """A start of the same execution with `on_conflict="restart"`."""
    options: dict[str, Any] = {"input_hash": b"h", "input": b"{}", **more}
    name = options.pop("workflow", "wf")
    return executions.start(str(run), new, name, restart=True, in_callers=in_callers, **options)


def runs_of(scene: Scene, run: UUID) -> list[tuple[int, str]]:
    return scene.sql(
        "SELECT run_index, state FROM zart_execution_runs WHERE execution_id = %s ORDER BY run_index",
        str(run),
    )


def current(scene: Scene, run: UUID) -> UUID:
    (row,) = scene.sql("SELECT current_run_id FROM zart_executions WHERE execution_id = %s", str(run))
    assert isinstance(row[0], UUID)
    return row[0]


def outcome(scene: Scene, run: UUID) -> Any:
    (row,) = scene.sql("SELECT convert_from(outcome, 'UTF8') FROM zart_execution_runs WHERE run_id = %s", run)
    return json.loads(row[0])


def ended_run(scene: Scene, worker: UUID, steps: Items, *, state: str = "failed", error: str = ERROR) -> UUID:
    """A run with those steps, made with its id put in."""
    run = scene.claimed_run(worker)
    rows = scene.flush(worker, steps=[{**each, "t": run} for each in steps])
    assert verdicts(rows) == []
    assert verdicts(scene.flush(worker, ends=[end(run, state=state, payload=error)])) == ["ended"]
    return run


NOBODY = uuid4()


def handled_run(scene: Scene, worker: UUID, state: str) -> UUID:
    """A run whose body has failed or was cancelled, and whose handler has recorded a step and goes on."""
    scene.sql(
        """INSERT INTO zart_workflows (workflow, version, parameters, required, current, queue, priority,
                                       on_failure, on_cancel, max_crashes)
           VALUES ('wf', '1', '{}', '{}', true, 'default', 0, true, true, 5) ON CONFLICT DO NOTHING"""
    )
    run = scene.claimed_run(worker)
    scene.flush(worker, steps=[failed(run, ":a#0", 1)])
    assert verdicts(scene.flush(worker, ends=[end(run, state=state, payload=ERROR)])) == ["released"]
    scene.claim(worker)
    assert verdicts(scene.flush(worker, steps=[step(run, "!:refund#0", 1, epoch=2)])) == []
    return run


def as_child(scene: Scene, parent: UUID, born: UUID) -> None:
    scene.sql(
        """UPDATE zart_tasks SET parent_task = %s, parent_ident = ':child#0', parent_seq = 1, parent_phase = 'b'
           WHERE task_id = %s""",
        parent,
        born,
    )
    scene.sql(
        "UPDATE zart_executions SET parent_execution_id = %s, parent_ident = ':child#0' WHERE execution_id = %s",
        str(parent),
        str(born),
    )
