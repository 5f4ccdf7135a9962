-- name: flush :many
-- One checkpoint of a worker, fenced. Exceptions first, then 'ok'.
SELECT verdict, o_task, o_ident, o_turn, o_kind, o_outcome, o_payload, o_secs
FROM zart_flush_v1(%(worker)s, %(steps)s::json, %(rest)s::jsonb, %(resend)s);

-- name: load_journals :many
-- What runs have recorded; with a floor only what has a turn from there on. Holds no lock: results may be large.
-- unnest and a join, not `= ANY`: the latter would visit every partition.
SELECT s.run_id, s.ident, s.seq, s.kind::text, s.outcome::text, s.turn, s.args_hash, s.attempt, s.payload
FROM unnest(%(runs)b::uuid[], %(floors)b::bigint[]) AS u(run_id, floor)
JOIN zart_steps s ON s.run_id = u.run_id AND (u.floor IS NULL OR s.turn >= u.floor);

-- name: load_attempts :many
-- Failed attempts, heartbeats and recorded deadlines of runs' steps, without the spawned ones. Times are seconds from now
-- by the database's clock (L8).
SELECT a.run_id, a.ident, a.attempt, a.error, a.heartbeat,
       extract(epoch FROM a.next_at - clock_timestamp())::float8 AS due_in,
       extract(epoch FROM a.deadline_at - clock_timestamp())::float8 AS deadline_in, a.is_last
FROM unnest(%(runs)b::uuid[]) AS u(run_id)
JOIN zart_step_attempts a ON a.run_id = u.run_id AND a.kind <> 'p'
ORDER BY a.run_id, a.ident, a.attempt;

-- name: load_spawned_attempts :many
-- The same of spawned steps, by run and identity. Index: primary key.
SELECT a.run_id, a.ident, a.attempt, a.error, a.heartbeat,
       extract(epoch FROM a.next_at - clock_timestamp())::float8 AS due_in,
       extract(epoch FROM a.deadline_at - clock_timestamp())::float8 AS deadline_in, a.is_last
FROM unnest(%(runs)b::uuid[], %(idents)b::text[]) AS u(run_id, ident)
JOIN zart_step_attempts a ON a.run_id = u.run_id AND a.ident = u.ident
ORDER BY a.run_id, a.ident, a.attempt;
