-- name: list_runs :many
-- One page of runs, newest first; the page begins after the run that `after` and `after_run` name.
-- Locks: none. Index: zart_runs_created backwards until the page is full, then key probes.
-- LATERAL with OFFSET 0, and the states outside of the page: as plain joins, "current run of its execution" is taken
-- for so rare that the planner reads and sorts the whole history. Parameters are known when the plan is made (nothing
-- is prepared), so a filter that is NULL costs nothing.
WITH page AS MATERIALIZED (
  SELECT r.execution_id, r.run_id, r.run_index, r.workflow, r.version, r.queue, e.tags,
         r.created_at, r.started_at, r.finished_at
    FROM zart_execution_runs r
   CROSS JOIN LATERAL (SELECT x.tags, x.current_run_id = r.run_id AS current FROM zart_executions x
                        WHERE x.execution_id = r.execution_id OFFSET 0) e
   WHERE (%(all_runs)s OR e.current)
     AND (%(state)s::text IS NULL OR r.state = %(state)s)
     AND (%(workflow)s::text IS NULL OR r.workflow = %(workflow)s)
     AND (%(queue)s::text IS NULL OR r.queue = %(queue)s)
     AND (%(tags)s::jsonb IS NULL OR e.tags @> %(tags)s::jsonb)
     AND (%(since)s::timestamptz IS NULL OR r.created_at >= %(since)s)
     AND (%(until)s::timestamptz IS NULL OR r.created_at < %(until)s)
     AND (%(search)s::text IS NULL OR strpos(lower(r.execution_id), lower(%(search)s)) > 0
                                   OR strpos(lower(r.workflow), lower(%(search)s)) > 0)
     AND (%(after)s::timestamptz IS NULL OR (r.created_at, r.run_id) < (%(after)s, %(after_run)s::uuid))
   ORDER BY r.created_at DESC, r.run_id DESC
   LIMIT %(limit)s)
SELECT p.execution_id, p.run_id, p.run_index, p.workflow, p.version, s.state, p.queue, p.tags,
       p.created_at, p.started_at, p.finished_at
  FROM page p JOIN zart_run_states s ON s.run_id = p.run_id
 ORDER BY p.created_at DESC, p.run_id DESC;

-- name: list_live_runs :many
-- As list_runs, of runs that have not ended and are in one state.
-- Locks: none. Index: none, it reads all of zart_tasks, which holds live runs only; never the history.
SELECT r.execution_id, r.run_id, r.run_index, r.workflow, r.version, s.state, r.queue, e.tags,
       r.created_at, r.started_at, r.finished_at
  FROM zart_tasks t
  JOIN zart_execution_runs r ON r.run_id = t.task_id
 CROSS JOIN LATERAL (SELECT x.tags, x.current_run_id = r.run_id AS current FROM zart_executions x
                      WHERE x.execution_id = r.execution_id OFFSET 0) e
  JOIN zart_run_states s ON s.run_id = t.task_id
 WHERE (%(all_runs)s OR e.current)
   AND s.state = %(state)s
   AND (%(workflow)s::text IS NULL OR t.workflow = %(workflow)s)
   AND (%(queue)s::text IS NULL OR t.queue = %(queue)s)
   AND (%(tags)s::jsonb IS NULL OR e.tags @> %(tags)s::jsonb)
   AND (%(since)s::timestamptz IS NULL OR r.created_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR r.created_at < %(until)s)
   AND (%(search)s::text IS NULL OR strpos(lower(r.execution_id), lower(%(search)s)) > 0
                                 OR strpos(lower(r.workflow), lower(%(search)s)) > 0)
   AND (%(after)s::timestamptz IS NULL OR (r.created_at, r.run_id) < (%(after)s, %(after_run)s::uuid))
 ORDER BY r.created_at DESC, r.run_id DESC
 LIMIT %(limit)s;

-- name: list_runs_of_execution :many
-- All runs of one execution, oldest first.
-- Locks: none. Index: zart_runs_index.
SELECT r.execution_id, r.run_id, r.run_index, r.workflow, r.version, s.state, r.queue, e.tags,
       r.created_at, r.started_at, r.finished_at
  FROM zart_executions e
  JOIN zart_execution_runs r ON r.execution_id = e.execution_id
  JOIN zart_run_states s ON s.run_id = r.run_id
 WHERE e.execution_id = %(execution_id)s
 ORDER BY r.run_index;

-- name: get_state :one
-- The public state of an execution's current run.
-- Locks: none. Index: primary keys.
SELECT s.state
  FROM zart_executions e JOIN zart_run_states s ON s.run_id = e.current_run_id
 WHERE e.execution_id = %(execution_id)s;

-- name: get_execution :one
-- An execution's current run with its payloads; `served` tells whether a live worker would claim it.
-- Locks: none. Index: primary keys, zart_workers_live.
SELECT r.execution_id, r.run_id, r.run_index, r.workflow, r.version, s.state, r.queue, e.tags,
       r.created_at, r.started_at, r.finished_at,
       s.waiting_until, r.deadline_at, r.input, r.outcome, r.orphans,
       convert_to(CASE r.state WHEN 'blocked' THEN r.divergence END::text, 'UTF8'),
       COALESCE(i.name, t.worker_id::text, r.worker_id::text),
       EXISTS (SELECT 1
                 FROM zart_workers w JOIN zart_worker_info o ON o.worker_id = w.worker_id
                WHERE w.state = 'live' AND w.lease_expires_at > clock_timestamp()
                  AND r.workflow = ANY (o.workflows) AND r.queue = ANY (o.queues)),
       e.parent_execution_id
  FROM zart_executions e
  JOIN zart_execution_runs r ON r.run_id = e.current_run_id
  JOIN zart_run_states s ON s.run_id = r.run_id
  LEFT JOIN zart_tasks t ON t.task_id = r.run_id
  LEFT JOIN zart_worker_info i ON i.worker_id = COALESCE(t.worker_id, r.worker_id)
 WHERE e.execution_id = %(execution_id)s;

-- name: list_steps :many
-- What a run has recorded, in the order of the calls. `come` is false for a sleep that is not over.
-- Locks: none. Index: primary key by run_id.
SELECT s.ident, s.kind::text, s.outcome::text,
       s.turn IS NOT NULL OR s.wake_at IS NULL OR s.wake_at <= clock_timestamp(),
       s.wake_at, s.attempt, s.started_at, s.completed_at, COALESCE(i.name, s.worker_id::text), s.payload
  FROM zart_steps s LEFT JOIN zart_worker_info i ON i.worker_id = s.worker_id
 WHERE s.run_id = %(run_id)s
 ORDER BY s.seq, s.ident;

-- name: list_attempts :many
-- A run's recorded attempts. `pending` tells that the next one may not start yet.
-- Locks: none. Index: primary key by run_id.
SELECT a.ident, a.kind::text, a.attempt, a.started_at, a.ended_at, a.next_at, a.deadline_at,
       COALESCE(a.next_at > clock_timestamp(), false), COALESCE(i.name, a.worker_id::text), a.error,
       a.heartbeat
  FROM zart_step_attempts a LEFT JOIN zart_worker_info i ON i.worker_id = a.worker_id
 WHERE a.run_id = %(run_id)s
 ORDER BY a.ident, a.attempt;

-- name: list_waits :many
-- The open waits of a run, in the order of the calls.
-- Locks: none. Index: primary key by run_id.
SELECT ident, name, deadline, created_at
  FROM zart_waits
 WHERE run_id = %(run_id)s
 ORDER BY seq, ident;

-- name: list_open_children :many
-- The child executions that a run waits for, in the order of the calls.
-- Locks: none. Index: zart_tasks_children, then primary keys.
SELECT t.parent_ident, t.execution_id, e.created_at
  FROM zart_tasks t
  JOIN zart_tasks p ON p.task_id = t.parent_task AND p.phase = t.parent_phase
  JOIN zart_executions e ON e.execution_id = t.execution_id
 WHERE t.parent_task = %(run_id)s AND t.kind = 'b'
   AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = t.parent_task AND s.ident = t.parent_ident)
 ORDER BY t.parent_seq, t.parent_ident;

-- name: list_children :many
-- All child executions of an execution, detached ones too, in order of their start.
-- Locks: none. Index: zart_executions_children.
SELECT execution_id
  FROM zart_executions
 WHERE parent_execution_id = %(execution_id)s
 ORDER BY created_at, execution_id;

-- name: list_tree :many
-- An execution and all that descend from it by their current runs, parents before their children, with the parent's id.
-- Locks: none. Index: zart_executions_children, then primary keys.
WITH RECURSIVE tree AS (
  SELECT e.execution_id, NULL::text COLLATE "C" AS parent, e.current_run_id, e.tags, e.created_at, 0 AS depth
    FROM zart_executions e WHERE e.execution_id = %(execution_id)s
  UNION ALL
  SELECT e.execution_id, e.parent_execution_id, e.current_run_id, e.tags, e.created_at, tree.depth + 1
    FROM tree JOIN zart_executions e ON e.parent_execution_id = tree.execution_id
)
SELECT r.execution_id, r.run_id, r.run_index, r.workflow, r.version, s.state, r.queue, x.tags,
       r.created_at, r.started_at, r.finished_at, x.parent
  FROM tree x JOIN zart_execution_runs r ON r.run_id = x.current_run_id JOIN zart_run_states s ON s.run_id = r.run_id
 ORDER BY x.depth, x.created_at, x.execution_id;

-- name: list_spawned :many
-- The spawned steps of a run that have no outcome yet, in the order of the calls.
-- Locks: none. Index: zart_tasks_children.
SELECT t.parent_ident, t.state::text, t.due_at, COALESCE(i.name, t.worker_id::text)
  FROM zart_tasks t LEFT JOIN zart_worker_info i ON i.worker_id = t.worker_id
 WHERE t.parent_task = %(run_id)s AND t.kind = 's'
   AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = t.parent_task AND s.ident = t.parent_ident)
 ORDER BY t.parent_seq, t.parent_ident;

-- name: list_events :many
-- An execution's mailbox, in order of acceptance: events sent to it, and what was set aside for it of broadcasts.
-- Locks: none. Index: zart_events_execution, zart_event_uses_execution.
SELECT event_id, name, key, payload, accepted_at, consumed_ident
  FROM (SELECT event_id, name, NULL AS key, payload, accepted_at, consumed_ident, event_id AS place, 0 AS use_id
          FROM zart_events WHERE execution_id = %(execution_id)s
        UNION ALL
        SELECT b.event_id, b.name, b.key, b.payload, b.accepted_at, u.consumed_ident, coalesce(b.place, b.event_id),
               u.use_id
          FROM zart_event_uses u JOIN zart_broadcasts b ON b.event_id = u.event_id
         WHERE u.execution_id = %(execution_id)s) AS e
 ORDER BY place, use_id;

-- name: get_published :one
-- The latest value that an execution's current run has published by a name; no row if there is no such execution.
-- Locks: none. Index: primary keys.
SELECT s.value, s.updated_at
  FROM zart_executions e LEFT JOIN zart_state s ON s.run_id = e.current_run_id AND s.key = %(key)s
 WHERE e.execution_id = %(execution_id)s;

-- name: find_endings :many
-- Of these executions (a JSON array of ids), those whose current run has ended or is blocked, and those that are not
-- there at all: their state is NULL.
-- Locks: none. Index: primary keys.
SELECT x.id, r.state, CASE r.state WHEN 'blocked' THEN convert_to(r.divergence::text, 'UTF8') ELSE r.outcome END
  FROM json_array_elements_text(%(ids)s::json) AS x (id)
  LEFT JOIN zart_executions e ON e.execution_id = x.id
  LEFT JOIN zart_execution_runs r ON r.run_id = e.current_run_id
 WHERE r.state IS DISTINCT FROM 'live';

-- name: find_place :one
-- Which database this connection is in, and which schema it finds the tables in.
-- Locks: none. Index: catalogue.
SELECT pg_postmaster_start_time()::text || ' ' || (SELECT oid FROM pg_database WHERE datname = current_database()),
       (SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('zart_executions')),
       current_setting('search_path');

-- name: set_search_path :one
-- Use another search path until the transaction ends.
SELECT set_config('search_path', %(path)s, true);
