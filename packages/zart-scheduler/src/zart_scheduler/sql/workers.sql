-- name: register_worker :exec
-- A worker's incarnation begins.
SELECT zart_register_worker_v1(%(worker)s, %(lease)s::float8, %(name)s, %(host)s, %(pid)s, %(queues)b::text[],
                               %(workflows)b::text[], %(version)s);

-- name: renew_worker :one
-- The heartbeat; false if the worker is dead or its lease is over. Locks: its row, passing its own flushes.
SELECT zart_renew_v1(%(worker)s, %(lease)s::float8);

-- name: retire_worker :exec
-- The end of a graceful stop. Locks: the worker's row, after its flushes.
SELECT zart_retire_v1(%(worker)s);

-- name: mark_dead :one
-- Declare workers dead whose lease is over. Locks: their rows, SKIP LOCKED.
SELECT zart_mark_dead_v1(%(grace)s::float8);
