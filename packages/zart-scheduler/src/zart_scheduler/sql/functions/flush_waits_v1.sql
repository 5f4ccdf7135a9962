-- Close outside calls (sleeps, waits, children) that the body has cancelled: the wait goes, the child execution is to be
-- cancelled, the record says cancelled and keeps or gets a turn (L12). An event set aside for it returns to its old place in the mailbox and goes at once to the
-- oldest open wait of its name: otherwise that wait would sleep beside its event.
-- Locks: needs the task rows; an outsider may be recording the very outcome.
CREATE FUNCTION zart_flush_cancels_v1(p_worker uuid, p_items jsonb, p_held uuid[], p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_item     record;
  v_standing text;
BEGIN
  FOR v_item IN
    SELECT * FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, i text, q integer, k "char", n bigint, x text)
  LOOP
    v_standing := zart_standing_v1(p_worker, v_item.t, v_item.e, p_held);
    CONTINUE WHEN p_resend AND v_standing IN ('left', 'over');
    IF v_standing <> 'own' THEN
      RETURN NEXT zart_say_v1(CASE v_standing WHEN 'busy' THEN 'busy' ELSE 'lost' END, v_item.t, v_item.i, NULL);
      CONTINUE;
    END IF;
    DELETE FROM zart_waits WHERE run_id = v_item.t AND ident = v_item.i;
    INSERT INTO zart_steps AS s (run_id, ident, seq, kind, outcome, turn, worker_id)
      VALUES (v_item.t, v_item.i, v_item.q, v_item.k, 'c', v_item.n, p_worker)
      ON CONFLICT (run_id, ident) DO UPDATE
        SET outcome = 'c', turn = coalesce(s.turn, excluded.turn), payload = NULL;
    IF zart_give_child_up_v1(v_item.x) THEN
      RETURN NEXT zart_say_v1('leaves', NULL, NULL, NULL);
    END IF;
    PERFORM zart_give_back_v1(v_item.t, v_item.i);
  END LOOP;
END $$;

-- Register waits for events, or consume what is in the mailbox already, in the body's order.
-- Locks: needs the task rows, and looks in statements after the one that locked them: a delivery is either over and
-- seen here, or waits for this transaction and sees the wait.
-- A keyed wait during whose registration a broadcast of its topic gets its place is registered and `busy`: the next try
-- looks again.
CREATE FUNCTION zart_flush_waits_v1(p_worker uuid, p_items jsonb, p_held uuid[], p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_item     record;
  v_step     zart_steps;
  v_standing text;
BEGIN
  FOR v_item IN
    SELECT * FROM jsonb_to_recordset(p_items)
      AS r(t uuid, e integer, i text, q integer, name text, key text, w float8, n bigint)
    ORDER BY r.t, r.q
  LOOP
    v_standing := zart_standing_v1(p_worker, v_item.t, v_item.e, p_held);
    IF v_standing = 'own' THEN
      IF NOT zart_await_event_v1(v_item.t, v_item.i, v_item.q, v_item.name, v_item.key, v_item.w, v_item.n, p_worker)
      THEN
        RETURN NEXT zart_say_v1('busy', v_item.t, v_item.i, NULL);
        CONTINUE;
      END IF;
    ELSIF NOT (p_resend AND v_standing IN ('left', 'over')) THEN
      RETURN NEXT zart_say_v1(CASE v_standing WHEN 'busy' THEN 'busy' ELSE 'lost' END, v_item.t, v_item.i, NULL);
      CONTINUE;
    END IF;
    SELECT * INTO v_step FROM zart_steps
      WHERE run_id = v_item.t AND ident = v_item.i AND turn IS NOT NULL AND outcome <> 'c';
    IF FOUND THEN
      RETURN QUERY SELECT 'have', v_item.t, v_item.i, v_step.turn, v_step.kind::text, v_step.outcome::text,
                          v_step.payload, NULL::float8;
    END IF;
  END LOOP;
END $$;

-- One wait: nothing if it is recorded or open already; else consume the oldest event that it fits, else open it. Of an
-- open wait with a key broadcasts are looked for again. Returns whether that look was certain to see them all.
CREATE FUNCTION zart_await_event_v1(p_run uuid, p_ident text, p_seq integer, p_name text, p_key text, p_timeout float8,
                                    p_turn bigint, p_worker uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_topic     bytea := zart_topic_v1(p_name, p_key);
  v_certain   boolean := v_topic IS NULL OR zart_hold_topic_v1(v_topic);
  v_open      zart_waits;
  v_execution text;
  v_found     record;
BEGIN
  PERFORM 1 FROM zart_steps WHERE run_id = p_run AND ident = p_ident;
  IF FOUND THEN
    RETURN true;
  END IF;
  SELECT * INTO v_open FROM zart_waits WHERE run_id = p_run AND ident = p_ident;
  IF FOUND AND (v_topic IS NULL OR v_open.deadline <= clock_timestamp()) THEN
    RETURN true;
  END IF;
  SELECT execution_id INTO STRICT v_execution FROM zart_tasks WHERE task_id = p_run;
  SELECT * INTO v_found FROM zart_consume_v1(v_execution, p_run, p_ident, p_name, v_topic);
  IF v_found.event_id IS NOT NULL THEN
    DELETE FROM zart_waits WHERE run_id = p_run AND ident = p_ident;
    INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, turn, started_at, worker_id, payload)
      VALUES (p_run, p_ident, p_seq, 'w', 'o', p_turn, clock_timestamp(), p_worker, v_found.payload);
    RETURN true;
  END IF;
  IF v_open.ident IS NULL THEN
    INSERT INTO zart_waits (run_id, ident, execution_id, seq, name, key, topic, born, deadline, timeout_secs)
      VALUES (p_run, p_ident, v_execution, p_seq, p_name, p_key, v_topic,
              CASE WHEN v_topic IS NOT NULL THEN nextval('zart_event_ids') END,
              clock_timestamp() + p_timeout * interval '1 second', p_timeout);
  END IF;
  RETURN v_certain;
END $$;

-- Consume the earliest event of an execution's mailbox that a wait fits, if there is one; with a topic also a broadcast.
CREATE FUNCTION zart_consume_v1(p_execution_id text, p_run uuid, p_ident text, p_name text, p_topic bytea,
                                OUT event_id bigint, OUT payload bytea)
LANGUAGE plpgsql AS $$
DECLARE
  v_shared record;
BEGIN
  SELECT e.event_id, e.payload INTO event_id, payload FROM zart_events e
    WHERE e.execution_id = p_execution_id AND e.name = p_name AND e.consumed_run IS NULL
    ORDER BY e.event_id LIMIT 1;
  IF p_topic IS NOT NULL THEN
    SELECT * INTO v_shared FROM zart_find_broadcast_v1(p_execution_id, p_topic);
    IF v_shared.event_id IS NOT NULL AND (event_id IS NULL OR v_shared.place < event_id) THEN
      event_id := v_shared.event_id;
      payload := v_shared.payload;
      IF v_shared.use_id IS NULL THEN
        INSERT INTO zart_event_uses (event_id, execution_id, consumed_run, consumed_ident)
          VALUES (v_shared.event_id, p_execution_id, p_run, p_ident);
      ELSE
        UPDATE zart_event_uses SET consumed_run = p_run, consumed_ident = p_ident WHERE use_id = v_shared.use_id;
      END IF;
      RETURN;
    END IF;
  END IF;
  UPDATE zart_events e SET consumed_run = p_run, consumed_ident = p_ident WHERE e.event_id = zart_consume_v1.event_id;
END $$;
