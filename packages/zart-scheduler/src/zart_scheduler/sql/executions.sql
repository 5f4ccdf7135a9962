-- name: start_execution :one
-- Start an execution, or say which one has its id. May run in the caller's transaction.
SELECT status, run_id, workflow
FROM zart_start_v1(%(execution_id)s, %(run_id)s, %(workflow)s, %(version)s, %(queue)s, %(priority)s, %(input_hash)s,
                   %(input)s, %(tags)s::jsonb, %(delay)s::float8, %(at)s::timestamptz, %(restart)s, %(owned)s, %(actor)s);

-- name: deliver_event :one
-- Send one event to an execution's mailbox. May run in the caller's transaction. Locks: the run's task row.
SELECT status, event_id, state FROM zart_deliver_v1(%(execution_id)s, %(name)s, %(key)s, %(payload)s);

-- name: broadcast_event :one
-- Accept one event for a topic. May run in the caller's transaction. Locks: its new row; if alone, the topic.
SELECT status, event_id
FROM zart_broadcast_v1(%(name)s, %(key)s, %(idem_key)s, %(payload)s, %(retain)s::float8, %(alone)s);

-- name: meet_broadcast :one
-- Meet some of the waits that a broadcast is for. Locks: the task rows, SKIP LOCKED.
SELECT after, skipped FROM zart_meet_broadcast_v1(%(event_id)s, %(after)s, %(limit)s);

-- name: count_uses :one
-- How many waits a broadcast has met. Locks: none. Index: zart_event_uses_event.
SELECT count(*) FROM zart_event_uses WHERE event_id = %(event_id)s;

-- name: find_unmet :many
-- Some broadcasts that may still have waits to meet; any, so that none that has to wait keeps others back.
-- Locks: none. Index: zart_broadcasts_unmet.
SELECT event_id FROM zart_broadcasts WHERE unmet ORDER BY random() LIMIT %(limit)s;

-- name: cancel_execution :one
-- Cancel an execution's current run, or ask its owner to. Locks: the run's task row.
SELECT status, state FROM zart_cancel_v1(%(execution_id)s, %(reason)s);

-- name: hint :exec
-- Wake whoever listens. A statement of its own: NOTIFY takes a lock that every other commit of it waits for.
SELECT pg_notify(%(channel)s, '');
