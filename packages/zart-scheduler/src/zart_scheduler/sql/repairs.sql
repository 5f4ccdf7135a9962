-- name: find_block :one
-- An execution's current run, its public state, and what it is blocked by, if it is.
-- Locks: none. Index: primary keys.
SELECT r.run_id, s.state, convert_to(CASE r.state WHEN 'blocked' THEN r.divergence END::text, 'UTF8')
  FROM zart_executions e
  JOIN zart_execution_runs r ON r.run_id = e.current_run_id
  JOIN zart_run_states s ON s.run_id = r.run_id
 WHERE e.execution_id = %(execution_id)s;

-- name: list_identities :many
-- The identities that a run has recorded, in the order of the calls.
-- Locks: none. Index: primary key by run_id.
SELECT ident FROM zart_steps WHERE run_id = %(run_id)s ORDER BY seq, ident;

-- name: unblock_execution :one
-- Let a blocked run try again. Locks: the run's task row.
SELECT status, state
FROM zart_unblock_v1(%(execution_id)s, %(run_id)s, %(accept)s, %(reset)s, %(actor)s, %(reason)s);
