-- Park runs whose every branch waits: no slot, no owner, due with their earliest timer.
-- Locks: needs the task rows, and counts what has come in a statement after the one that locked them: an outcome from
-- outside is either seen here, and the run stays, or finds the run parked and wakes it.
-- An outcome with a turn counts too: a collect may have given it while the body was on its way here. A run that is
-- asked to cancel stays, so that its owner ends it.
-- Planner: OFFSET 0, here and below, makes each identity one key probe; the alternative reads the whole journal.
CREATE FUNCTION zart_flush_parks_v1(p_worker uuid, p_items jsonb, p_held uuid[]) RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_item record;
  v_due  timestamptz;
BEGIN
  FOR v_item IN
    SELECT r.t, r.await, zart_standing_v1(p_worker, r.t, r.e, p_held) AS standing,
           EXISTS (SELECT 1 FROM jsonb_array_elements_text(r.await) AS a(ident)
                   CROSS JOIN LATERAL (SELECT s.outcome, s.turn, s.wake_at FROM zart_steps s
                                       WHERE s.run_id = r.t AND s.ident = a.ident OFFSET 0) s
                   WHERE s.outcome <> 'c'
                     AND (s.turn IS NOT NULL OR s.wake_at IS NULL OR s.wake_at <= clock_timestamp())) AS come
    FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, await jsonb)
  LOOP
    IF v_item.standing = 'left' THEN
      SELECT due_at INTO v_due FROM zart_tasks WHERE task_id = v_item.t;
    ELSIF v_item.standing <> 'own' THEN
      RETURN NEXT zart_say_v1(CASE v_item.standing WHEN 'busy' THEN 'busy' ELSE 'lost' END, v_item.t, NULL, NULL);
      CONTINUE;
    ELSE
      v_due := least(zart_next_wake_v1(v_item.t), zart_next_attempt_v1(v_item.t, v_item.await));
      UPDATE zart_tasks SET state = 'w', worker_id = NULL, claim_id = NULL, due_at = v_due, crash_count = 0
        WHERE task_id = v_item.t AND NOT v_item.come AND cancel_requested_at IS NULL;
      IF NOT FOUND THEN
        RETURN NEXT zart_say_v1('unparked', v_item.t, NULL, NULL);
        CONTINUE;
      END IF;
    END IF;
    RETURN NEXT zart_say_v1('parked', v_item.t, NULL, extract(epoch FROM v_due - clock_timestamp())::float8);
  END LOOP;
END $$;

-- When a step that the run waits for is to be tried again, or its deadline passes. Only the latest attempt's time
-- counts, and only of a step that the code still has: the others have been used up, and one of them would make a
-- parked run due at once, for ever.
CREATE FUNCTION zart_next_attempt_v1(p_run uuid, p_awaited jsonb) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
  SELECT min(least(a.next_at, a.deadline_at))
  FROM (SELECT ident, (array_agg(next_at ORDER BY attempt DESC))[1] AS next_at, min(deadline_at) AS deadline_at
        FROM zart_step_attempts WHERE run_id = p_run AND kind <> 'p' GROUP BY ident) a
  WHERE p_awaited ? a.ident
    AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = p_run AND s.ident = a.ident OFFSET 0)
$$;

-- Hand runs back at once: ready for any worker. A run that is asked to cancel ends instead, since no owner will.
CREATE FUNCTION zart_flush_releases_v1(p_worker uuid, p_items jsonb, p_held uuid[]) RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_item     record;
  v_standing text;
BEGIN
  FOR v_item IN SELECT * FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, unseen jsonb) LOOP
    v_standing := zart_standing_v1(p_worker, v_item.t, v_item.e, p_held);
    IF v_standing = 'own' THEN
      PERFORM zart_unsee_v1(v_item.t, v_item.unseen);
      v_standing := zart_end_cancelled_v1(v_item.t);
    END IF;
    IF v_standing = 'live' THEN
      UPDATE zart_tasks SET state = 'r', worker_id = NULL, claim_id = NULL, due_at = NULL WHERE task_id = v_item.t;
    END IF;
    RETURN NEXT zart_say_v1(CASE WHEN v_standing IN ('live', 'ended', 'left') THEN 'released'
                                 WHEN v_standing = 'busy' THEN 'busy' ELSE 'lost' END, v_item.t, NULL, NULL);
  END LOOP;
END $$;
