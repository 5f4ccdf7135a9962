-- name: load_inputs :many
-- What claimed runs are and were started with. Holds no lock: inputs may be large.
SELECT r.run_id, r.execution_id, r.run_index, r.workflow, r.version, r.queue, x.tags, r.created_at, r.started_at,
       r.deadline_at, r.input, r.accepted, t.epoch, t.phase::text, r.outcome
FROM unnest(%(runs)b::uuid[]) AS u(run_id)
JOIN zart_tasks t ON t.task_id = u.run_id
JOIN zart_execution_runs r ON r.run_id = u.run_id
JOIN zart_executions x ON x.execution_id = r.execution_id;

-- name: load_spawned :many
-- What claimed spawned steps are to do, and the facts of their runs. Holds no lock. `wanted` is false if the run has
-- ended, or the body or handler that spawned it, or that has a record. Index: primary keys.
SELECT t.task_id, t.epoch, t.parent_ident, t.parent_seq, t.payload, b.task_id IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = t.parent_task AND s.ident = t.parent_ident) AS wanted,
       r.run_id, r.execution_id, r.run_index, r.workflow, t.version, r.queue, x.tags, r.created_at, r.started_at,
       r.deadline_at
FROM unnest(%(tasks)b::uuid[]) AS u(task_id)
JOIN zart_tasks t ON t.task_id = u.task_id
JOIN zart_execution_runs r ON r.run_id = t.run_id
JOIN zart_executions x ON x.execution_id = r.execution_id
LEFT JOIN zart_tasks b ON b.task_id = t.parent_task AND b.phase = t.parent_phase;
