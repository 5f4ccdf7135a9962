-- name: restart_execution :one
-- A new run from scratch. Locks: the row of the worker that owns the current run, the execution's row, the run's task.
SELECT status, run_id, NULL::text, workflow, NULL::text, NULL::text[]
FROM zart_restart_v1(%(execution_id)s, %(run_id)s, %(workflow)s, %(version)s, %(input)s, %(request)s, %(actor)s, %(asked)s::jsonb);

-- name: rerun_execution :one
-- A new run that keeps records of the current one. Locks: as restart_execution.
SELECT status, run_id, NULL::text, NULL::text, NULL::text, names
FROM zart_rerun_v1(%(execution_id)s, %(run_id)s, %(steps)s::text[], %(keep)s::text[], %(request)s, %(actor)s, %(asked)s::jsonb);

-- name: fork_execution :one
-- A new execution with the first records of a run. Locks: the source's execution row.
SELECT status, NULL::uuid, execution_id, NULL::text, NULL::text, names
FROM zart_fork_v1(%(execution_id)s, %(from_run)s, %(new_id)s, %(run_id)s, %(step)s, %(input_hash)s, %(input)s,
                  %(request)s, %(actor)s, %(asked)s::jsonb);

-- name: retry_step :one
-- One more try of a failed run. Locks: the execution's row.
SELECT status, run_id, NULL::text, NULL::text, state, names
FROM zart_retry_step_v1(%(execution_id)s, %(step)s, %(request)s, %(actor)s, %(asked)s::jsonb);
