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
    PERFORM zart_free_event_v1(v_item.t, v_item.i);
  END LOOP;
END $$;

-- Take the event back that a call has consumed, if it has: to its old place in the mailbox, and from there at once to
-- the oldest open wait of its name.
-- Locks: the caller holds the run's task row.
CREATE FUNCTION zart_free_event_v1(p_run uuid, p_ident text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_event record;
  v_heir  text;
BEGIN
  UPDATE zart_events SET consumed_run = NULL, consumed_ident = NULL
    WHERE consumed_run = p_run AND consumed_ident = p_ident
    RETURNING event_id, name, payload INTO v_event;
  IF FOUND THEN
    v_heir := zart_meet_wait_v1(p_run, v_event.name, v_event.payload);
    UPDATE zart_events SET consumed_run = p_run, consumed_ident = v_heir
      WHERE event_id = v_event.event_id AND v_heir IS NOT NULL;
  END IF;
END $$;

-- Register waits for events, or consume what is in the mailbox already, in the body's order.
-- Locks: needs the task rows, and looks in statements after the one that locked them: a delivery is either over and
-- seen here, or waits for this transaction and sees the wait.
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
      AS r(t uuid, e integer, i text, q integer, name text, w float8, n bigint)
    ORDER BY r.t, r.q
  LOOP
    v_standing := zart_standing_v1(p_worker, v_item.t, v_item.e, p_held);
    IF v_standing = 'own' THEN
      PERFORM zart_await_event_v1(v_item.t, v_item.i, v_item.q, v_item.name, v_item.w, v_item.n, p_worker);
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

-- One wait: nothing if it is recorded or open already; else consume the oldest event of its name, else open it.
CREATE FUNCTION zart_await_event_v1(p_run uuid, p_ident text, p_seq integer, p_name text, p_timeout float8,
                                    p_turn bigint, p_worker uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_execution text;
  v_event     zart_events;
BEGIN
  PERFORM 1 FROM zart_steps WHERE run_id = p_run AND ident = p_ident;
  IF FOUND THEN
    RETURN;
  END IF;
  PERFORM 1 FROM zart_waits WHERE run_id = p_run AND ident = p_ident;
  IF FOUND THEN
    RETURN;
  END IF;
  SELECT execution_id INTO STRICT v_execution FROM zart_tasks WHERE task_id = p_run;
  SELECT * INTO v_event FROM zart_events
    WHERE execution_id = v_execution AND name = p_name AND consumed_run IS NULL
    ORDER BY event_id LIMIT 1;
  IF FOUND THEN
    UPDATE zart_events SET consumed_run = p_run, consumed_ident = p_ident WHERE event_id = v_event.event_id;
    INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, turn, started_at, worker_id, payload)
      VALUES (p_run, p_ident, p_seq, 'w', 'o', p_turn, clock_timestamp(), p_worker, v_event.payload);
  ELSE
    INSERT INTO zart_waits (run_id, ident, execution_id, seq, name, deadline, timeout_secs)
      VALUES (p_run, p_ident, v_execution, p_seq, p_name,
              clock_timestamp() + p_timeout * interval '1 second', p_timeout);
  END IF;
END $$;
