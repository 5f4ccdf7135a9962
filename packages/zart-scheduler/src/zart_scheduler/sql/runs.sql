-- name: load_inputs :many
-- What claimed runs are and were started with. Holds no lock: inputs may be large.
SELECT r.run_id, r.execution_id, r.run_index, r.workflow, r.version, r.queue, x.tags, r.created_at, r.started_at,
       r.deadline_at, r.input, r.accepted, t.epoch, t.phase::text, r.outcome
FROM unnest(%(runs)b::uuid[]) AS u(run_id)
JOIN zart_tasks t ON t.task_id = u.run_id
JOIN zart_execution_runs r ON r.run_id = u.run_id
JOIN zart_executions x ON x.execution_id = r.execution_id;
