-- Give an event to the oldest open wait of its name in a run, with a topic only to one for that: the wait goes, its
-- record comes, without a turn. Returns the wait's identity, or NULL if none is open. A wait past its deadline is closed,
-- recorded or not.
-- Locks: the caller holds the run's task row.
CREATE FUNCTION zart_meet_wait_v1(p_run uuid, p_name text, p_topic bytea, p_payload bytea) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_wait zart_waits;
BEGIN
  SELECT * INTO v_wait FROM zart_waits
    WHERE run_id = p_run AND name = p_name AND (deadline IS NULL OR deadline > clock_timestamp())
      AND (p_topic IS NULL OR topic = p_topic)
    ORDER BY seq, ident LIMIT 1;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  DELETE FROM zart_waits WHERE run_id = p_run AND ident = v_wait.ident;
  INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, started_at, payload)
    VALUES (p_run, v_wait.ident, v_wait.seq, 'w', 'o', v_wait.created_at, p_payload);
  RETURN v_wait.ident;
END $$;

-- Take back the event that a wait has consumed, and hand it to the oldest open wait that it fits: otherwise that one
-- would sleep beside its event.
-- Locks: the caller holds the run's task row.
CREATE FUNCTION zart_give_back_v1(p_run uuid, p_ident text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_event record;
  v_use   zart_event_uses;
  v_heir  text;
BEGIN
  UPDATE zart_events SET consumed_run = NULL, consumed_ident = NULL
    WHERE consumed_run = p_run AND consumed_ident = p_ident
    RETURNING event_id, name, payload INTO v_event;
  IF FOUND THEN
    v_heir := zart_meet_wait_v1(p_run, v_event.name, NULL, v_event.payload);
    UPDATE zart_events SET consumed_run = p_run, consumed_ident = v_heir
      WHERE event_id = v_event.event_id AND v_heir IS NOT NULL;
    RETURN;
  END IF;
  v_use := zart_free_use_v1(p_run, p_ident);
  IF v_use.use_id IS NOT NULL THEN
    SELECT zart_meet_wait_v1(p_run, b.name, b.topic, b.payload) INTO v_heir
      FROM zart_broadcasts b WHERE b.event_id = v_use.event_id;
    UPDATE zart_event_uses SET consumed_run = p_run, consumed_ident = v_heir
      WHERE use_id = v_use.use_id AND v_heir IS NOT NULL;
  END IF;
END $$;

-- Drop the outcomes of waits and children that have no turn, and return the events to the mailbox, at their place: no
-- body has seen them, and the next run may meet the event.
-- Locks: the caller holds the task rows.
CREATE FUNCTION zart_return_unseen_v1(p_runs uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_unseen record;
BEGIN
  FOR v_unseen IN
    DELETE FROM zart_steps s WHERE s.run_id = ANY (p_runs) AND s.turn IS NULL AND s.kind IN ('w', 'k', 'p')
    RETURNING s.run_id, s.ident, s.outcome
  LOOP
    CONTINUE WHEN v_unseen.outcome <> 'o';
    UPDATE zart_events SET consumed_run = NULL, consumed_ident = NULL
      WHERE consumed_run = v_unseen.run_id AND consumed_ident = v_unseen.ident;
    IF NOT FOUND THEN
      PERFORM zart_free_use_v1(v_unseen.run_id, v_unseen.ident);
    END IF;
  END LOOP;
END $$;

-- Take their turns back from outcomes of waits that a run's owner has not delivered, when it gives the run up or ends
-- it: so that "no turn" tells, whoever looks later, that no body has seen it. The owner names only what no earlier
-- owner's body can have seen either.
-- Locks: the caller holds the run's task row and owns the run.
CREATE FUNCTION zart_unsee_v1(p_run uuid, p_idents jsonb) RETURNS void
LANGUAGE sql AS $$
  UPDATE zart_steps s SET turn = NULL
    FROM jsonb_array_elements_text(p_idents) AS u(ident)
    WHERE s.run_id = p_run AND s.ident = u.ident AND s.kind = 'w' AND s.outcome = 'o'
$$;

-- Record the timeout of every wait of these runs whose deadline has passed, without a turn; but what was broadcast
-- before the deadline comes first.
-- Locks: the caller owns the runs and holds their task rows.
CREATE FUNCTION zart_expire_waits_v1(p_runs uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM zart_meet_pending_v1(w.run_id, w.name)
  FROM (SELECT DISTINCT run_id, name FROM zart_waits
        WHERE run_id = ANY (p_runs) AND deadline <= clock_timestamp() AND topic IS NOT NULL) w;
  WITH expired AS (
    DELETE FROM zart_waits WHERE run_id = ANY (p_runs) AND deadline <= clock_timestamp()
    RETURNING run_id, ident, seq, created_at
  )
  INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, started_at)
  SELECT run_id, ident, seq, 'w', 't', created_at FROM expired
  ON CONFLICT (run_id, ident) DO NOTHING;
END $$;

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
  PERFORM zart_meet_pending_v1(v_run, p_name);  -- accepted earlier, but not met yet
  v_ident := zart_meet_wait_v1(v_run, p_name, NULL, p_payload);
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
