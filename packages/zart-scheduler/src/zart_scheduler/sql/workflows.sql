-- name: upsert_workflow :exec
-- What a worker knows of a workflow version.
INSERT INTO zart_workflows AS w (workflow, version, parameters, required, input_schema, result_schema, current,
                                 queue, priority, on_failure, on_cancel, max_crashes)
VALUES (%(workflow)s, %(version)s, %(parameters)b::text[], %(required)b::text[], %(input_schema)s::json,
        %(result_schema)s::json, %(current)s, %(queue)s, %(priority)s, %(on_failure)s, %(on_cancel)s,
        %(max_crashes)s)
ON CONFLICT (workflow, version) DO UPDATE
  SET parameters = excluded.parameters, required = excluded.required, input_schema = excluded.input_schema,
      result_schema = excluded.result_schema, current = excluded.current, queue = excluded.queue,
      priority = excluded.priority, on_failure = excluded.on_failure, on_cancel = excluded.on_cancel,
      max_crashes = excluded.max_crashes, last_seen_at = clock_timestamp();

-- name: list_workflows :many
SELECT workflow, version, parameters, required, input_schema::text, result_schema::text, current, queue, priority,
       last_seen_at
FROM zart_workflows ORDER BY workflow, last_seen_at DESC, version;

-- name: get_workflow :many
-- One version, or without one the current version that was seen last.
SELECT workflow, version, parameters, required, input_schema::text, result_schema::text, current, queue, priority,
       last_seen_at
FROM zart_workflows
WHERE workflow = %(workflow)s AND (version = %(version)s::text OR %(version)s::text IS NULL)
ORDER BY current DESC, last_seen_at DESC LIMIT 1;
