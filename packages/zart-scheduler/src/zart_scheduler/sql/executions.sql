-- name: start_execution :one
-- Start an execution, or say which one has its id. May run in the caller's transaction.
SELECT status, run_id, workflow
FROM zart_start_v1(%(execution_id)s, %(run_id)s, %(workflow)s, %(version)s, %(queue)s, %(priority)s, %(input_hash)s,
                   %(input)s, %(tags)s::jsonb, %(delay)s::float8, %(at)s::timestamptz, %(restart)s, %(owned)s, %(actor)s);

-- name: deliver_event :one
-- Send one event to an execution's mailbox. May run in the caller's transaction. Locks: the run's task row.
SELECT status, event_id, state FROM zart_deliver_v1(%(execution_id)s, %(name)s, %(key)s, %(payload)s);

-- name: cancel_execution :one
-- Cancel an execution's current run, or ask its owner to. Locks: the run's task row.
SELECT status, state FROM zart_cancel_v1(%(execution_id)s, %(reason)s);

-- name: hint :exec
-- Wake whoever listens. A statement of its own: NOTIFY takes a lock that every other commit of it waits for.
SELECT pg_notify(%(channel)s, '');
