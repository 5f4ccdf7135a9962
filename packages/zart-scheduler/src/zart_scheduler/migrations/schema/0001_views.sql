-- What a payload says, short enough to read. Cut after decoding: bytes cut before it would split a character.
CREATE FUNCTION zart_payload_text_v1(p_payload bytea) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN octet_length(p_payload) <= 100000 THEN left(convert_from(p_payload, 'UTF8'), 2000)
              ELSE '<' || octet_length(p_payload) || ' bytes>' END
$$;

-- The public state of every run. A task that was never claimed is scheduled, also while it waits for its start time;
-- so is one that waits for a worker with other code.
CREATE VIEW zart_run_states AS
SELECT r.run_id,
       CASE WHEN r.state <> 'live' THEN r.state
            WHEN t.state = 'a' THEN 'running'
            WHEN t.state = 'w' AND t.epoch > 0 AND t.diverged_by IS NULL THEN
              CASE WHEN EXISTS (SELECT 1 FROM zart_waits w WHERE w.run_id = r.run_id)
                     OR EXISTS (SELECT 1 FROM zart_tasks c WHERE c.parent_task = r.run_id AND c.parent_phase = t.phase
                                AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = c.parent_task
                                                AND s.ident = c.parent_ident)) THEN 'waiting' ELSE 'sleeping' END
            ELSE 'scheduled' END AS state,
       CASE WHEN t.state = 'w' THEN t.due_at END AS waiting_until
FROM zart_execution_runs r LEFT JOIN zart_tasks t ON t.task_id = r.run_id;

CREATE VIEW zart_v_runs AS
SELECT r.execution_id, r.run_index, r.run_id, r.workflow, r.version, r.queue, r.priority, s.state, s.waiting_until,
       r.created_at, r.started_at, r.finished_at, r.deadline_at,
       zart_payload_text_v1(r.input) AS input, zart_payload_text_v1(r.outcome) AS outcome
FROM zart_execution_runs r JOIN zart_run_states s ON s.run_id = r.run_id;

CREATE VIEW zart_v_steps AS
SELECT run_id, ident, seq,
       CASE kind WHEN 's' THEN 'step' WHEN 'c' THEN 'capture' WHEN 'z' THEN 'sleep' WHEN 'w' THEN 'event'
                 WHEN 'k' THEN 'child' WHEN 'p' THEN 'spawn' WHEN 'g' THEN 'saga'
                 WHEN 'v' THEN 'state' END AS kind,
       CASE outcome WHEN 'o' THEN 'ok' WHEN 'e' THEN 'error' WHEN 't' THEN 'timed out' WHEN 'c' THEN 'cancelled'
                    WHEN 'x' THEN 'cancelled elsewhere' END AS outcome,
       turn >> 32 AS turn_epoch, turn & 4294967295 AS turn_number, wake_at, attempt, started_at, completed_at, worker_id,
       zart_payload_text_v1(payload) AS payload
FROM zart_steps;
