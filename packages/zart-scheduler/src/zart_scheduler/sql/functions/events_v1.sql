-- Give an event to the oldest open wait of its name in a run: the wait goes, its record comes, without a turn.
-- Returns the wait's identity, or NULL if none is open. A wait past its deadline is closed, recorded or not.
-- Locks: the caller holds the run's task row.
CREATE FUNCTION zart_meet_wait_v1(p_run uuid, p_name text, p_payload bytea) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_wait zart_waits;
BEGIN
  SELECT * INTO v_wait FROM zart_waits
    WHERE run_id = p_run AND name = p_name AND (deadline IS NULL OR deadline > clock_timestamp())
    ORDER BY seq, ident LIMIT 1;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  DELETE FROM zart_waits WHERE run_id = p_run AND ident = v_wait.ident;
  INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, started_at, payload)
    VALUES (p_run, v_wait.ident, v_wait.seq, 'w', 'o', v_wait.created_at, p_payload);
  RETURN v_wait.ident;
END $$;

-- Record the timeout of every wait of these runs whose deadline has passed, without a turn.
-- Locks: the caller owns the runs and holds their task rows.
CREATE FUNCTION zart_expire_waits_v1(p_runs uuid[]) RETURNS void
LANGUAGE sql AS $$
  WITH expired AS (
    DELETE FROM zart_waits WHERE run_id = ANY (p_runs) AND deadline <= clock_timestamp()
    RETURNING run_id, ident, seq, created_at
  )
  INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, started_at)
  SELECT run_id, ident, seq, 'w', 't', created_at FROM expired
  ON CONFLICT (run_id, ident) DO NOTHING
$$;

-- Send one event to an execution. Accepted means recorded; consumption and waking are in the same transaction, which
-- may be the sender's own.
-- Locks: the current run's body task FOR UPDATE, before anything is looked at: it serialises deliveries with the
-- registration of waits, with timeouts, cancels and ends. No other row is waited for.
-- Planner: a plan made while the tables were small must not scan them for ever; all keys here are indexed.
CREATE FUNCTION zart_deliver_v1(p_execution_id text, p_name text, p_idem_key text, p_payload bytea,
                                OUT status text, OUT event_id bigint, OUT state text)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_run   uuid;
  v_tried uuid;
  v_open  boolean;
  v_ident text;
BEGIN
  PERFORM zart_require_read_committed_v1();
  LOOP
    SELECT x.current_run_id INTO v_run FROM zart_executions x WHERE x.execution_id = p_execution_id;
    IF NOT FOUND THEN
      status := 'unknown';
      RETURN;
    END IF;
    PERFORM 1 FROM zart_tasks WHERE task_id = v_run FOR UPDATE;
    v_open := FOUND;
    EXIT WHEN v_open OR v_tried = v_run;
    v_tried := v_run;  -- no task: ended, or followed by another run meanwhile; look once more
  END LOOP;
  IF p_idem_key IS NOT NULL THEN
    SELECT CASE WHEN e.name = p_name AND e.payload_hash = sha256(p_payload) THEN 'duplicate' ELSE 'mismatch' END,
           e.event_id
      INTO status, event_id
      FROM zart_events e WHERE e.execution_id = p_execution_id AND e.idem_key = p_idem_key;
    IF FOUND THEN
      RETURN;
    END IF;
  END IF;
  IF NOT v_open THEN
    status := 'terminal';
    SELECT r.state INTO state FROM zart_execution_runs r WHERE r.run_id = v_run;
    RETURN;
  END IF;
  v_ident := zart_meet_wait_v1(v_run, p_name, p_payload);
  INSERT INTO zart_events AS e (execution_id, name, idem_key, payload, payload_hash, consumed_run, consumed_ident)
    VALUES (p_execution_id, p_name, p_idem_key, p_payload, sha256(p_payload),
            CASE WHEN v_ident IS NOT NULL THEN v_run END, v_ident)
    RETURNING e.event_id INTO event_id;
  IF v_ident IS NULL THEN
    status := 'kept';
    RETURN;
  END IF;
  UPDATE zart_tasks t SET state = 'r', due_at = NULL WHERE t.task_id = v_run AND t.state = 'w';
  status := 'consumed';
END $$;
