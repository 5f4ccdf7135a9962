-- Give the turn `n` to whatever has come from outside for an active run and has none, and say what it was.
-- A resend returns what the lost answer gave as well; `collected` says in how many seconds to look again.
-- Locks: none needed, since whoever takes a run away locks its owner's worker row first. Event timeouts are recorded
-- only while the task row is held: a delivery may be consuming that very wait.
CREATE FUNCTION zart_flush_collects_v1(p_worker uuid, p_items jsonb, p_held uuid[], p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_item     record;
  v_standing text;
BEGIN
  FOR v_item IN SELECT * FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, n bigint) LOOP
    v_standing := zart_standing_v1(p_worker, v_item.t, v_item.e, p_held);
    IF v_standing = 'lost' OR (v_standing IN ('left', 'over') AND NOT p_resend) THEN
      RETURN NEXT zart_say_v1('lost', v_item.t, NULL, NULL);
      CONTINUE;
    END IF;
    IF p_resend THEN
      RETURN QUERY SELECT 'turn', s.run_id, s.ident, s.turn, s.kind::text, s.outcome::text, s.payload, NULL::float8
        FROM zart_steps s WHERE s.run_id = v_item.t AND s.turn = v_item.n;
    END IF;
    IF v_standing = 'own' THEN
      PERFORM zart_expire_waits_v1(ARRAY[v_item.t]);
    END IF;
    IF v_standing IN ('own', 'busy') THEN
      RETURN QUERY UPDATE zart_steps s SET turn = v_item.n
        WHERE s.run_id = v_item.t AND s.turn IS NULL AND (s.wake_at IS NULL OR s.wake_at <= clock_timestamp())
        RETURNING 'turn', s.run_id, s.ident, s.turn, s.kind::text, s.outcome::text, s.payload, NULL::float8;
    END IF;
    RETURN NEXT zart_say_v1('collected', v_item.t, NULL,
                            extract(epoch FROM zart_next_wake_v1(v_item.t) - clock_timestamp())::float8);
  END LOOP;
END $$;

-- When the next timer of a run is due: of its sleeps not yet collected and of its open waits.
CREATE FUNCTION zart_next_wake_v1(p_run uuid) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
  SELECT least((SELECT min(wake_at) FROM zart_steps WHERE run_id = p_run AND turn IS NULL),
               (SELECT min(deadline) FROM zart_waits WHERE run_id = p_run))
$$;
