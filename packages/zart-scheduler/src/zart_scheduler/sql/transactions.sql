-- name: identify_transaction :one
-- The open transaction's number, by which it is known from outside whatever becomes of its connection.
SELECT pg_current_xact_id()::text;

-- name: record_in_transaction :exec
-- Record a step's outcome in the step's own transaction, fenced; COMMIT follows in the same message.
SELECT zart_record_v1(%(worker)s::uuid, %(xact)s::text, %(steps)s::json, %(patience)s::integer,
                      %(finishes)s::jsonb);

-- name: find_fate :one
-- What became of a COMMIT that got no answer.
SELECT zart_fate_v1(%(xact)s::text, %(run)s::uuid, %(ident)s::text, %(turn)s::bigint);

-- name: end_transaction :exec
-- End the connection of a transaction that nobody wants any more.
SELECT zart_end_transaction_v1(%(xact)s::text);
