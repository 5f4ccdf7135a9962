-- Make steps tasks of their own. A record or a task that is there already stands: the spawn is a resend, or a replay.
-- Locks: needs the body's task row, and looks after it was locked, for record and task in one statement: the end of the
-- step puts one and takes the other away. Else a replay could spawn it again after its record.
-- Planner: OFFSET 0, here and below, makes each identity one key probe; the alternative reads whole tables.
CREATE FUNCTION zart_flush_spawns_v1(p_worker uuid, p_items jsonb, p_held uuid[], p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO zart_tasks (task_id, run_id, execution_id, kind, queue, workflow, version, priority, payload,
                          parent_task, parent_ident, parent_seq, parent_phase)
  SELECT r.s, b.run_id, b.execution_id, 's', b.queue, b.workflow, b.version, b.priority, convert_to(r.p, 'UTF8'),
         r.t, r.i, r.q, b.phase
  FROM ROWS FROM (jsonb_to_recordset(p_items) AS (t uuid, e integer, i text, q integer, s uuid, p text))
       WITH ORDINALITY AS r(t, e, i, q, s, p, place)
  CROSS JOIN LATERAL (SELECT * FROM zart_tasks b WHERE b.task_id = r.t OFFSET 0) b
  WHERE r.t = ANY (p_held) AND b.epoch = r.e AND b.worker_id = p_worker AND b.state = 'a'
    AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = r.t AND s.ident = r.i OFFSET 0)
    AND NOT EXISTS (SELECT 1 FROM zart_tasks o WHERE o.parent_task = r.t AND o.parent_ident = r.i OFFSET 0)
  ORDER BY r.place;
  IF FOUND THEN
    RETURN NEXT zart_say_v1('news', NULL, NULL, NULL);
  END IF;
  RETURN QUERY SELECT * FROM zart_refuse_items_v1(p_worker, p_items, p_held, p_resend);
  RETURN QUERY SELECT * FROM zart_known_outcomes_v1(p_items);
END $$;

-- Cancel spawned steps. An outcome that is recorded stands, and gets the turn `n` if it has none; else the record says
-- that the step was cancelled. Its task goes, or if somebody runs it, is marked, so that the owner stops the step.
-- Locks: needs the body's task row; the spawned step's is taken SKIP LOCKED: whoever holds it finds the record later.
CREATE FUNCTION zart_flush_revokes_v1(p_worker uuid, p_items jsonb, p_held uuid[], p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_item record;
BEGIN
  RETURN NEXT zart_say_v1('news', NULL, NULL, NULL);
  FOR v_item IN SELECT * FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, i text, q integer, n bigint) LOOP
    CONTINUE WHEN zart_standing_v1(p_worker, v_item.t, v_item.e, p_held) <> 'own';
    INSERT INTO zart_steps AS s (run_id, ident, seq, kind, outcome, turn, worker_id)
      VALUES (v_item.t, v_item.i, v_item.q, 'p', 'x', v_item.n, p_worker)
      ON CONFLICT (run_id, ident) DO UPDATE SET turn = coalesce(s.turn, excluded.turn);
    PERFORM zart_drop_tasks_v1(ARRAY(
      SELECT o.task_id FROM zart_tasks o WHERE o.parent_task = v_item.t AND o.parent_ident = v_item.i AND o.kind = 's'
      FOR UPDATE SKIP LOCKED));
  END LOOP;
  RETURN QUERY SELECT * FROM zart_refuse_items_v1(p_worker, p_items, p_held, p_resend);
  RETURN QUERY SELECT * FROM zart_known_outcomes_v1(p_items);
END $$;

-- The ends of spawned steps that a flush carries.
CREATE FUNCTION zart_flush_finishes_v1(p_worker uuid, p_items jsonb, p_held uuid[], p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_own  uuid[];
  v_over uuid[] := '{}';
BEGIN
  SELECT array_agg(t.task_id) INTO v_own
  FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer)
  CROSS JOIN LATERAL (SELECT * FROM zart_tasks t WHERE t.task_id = r.t OFFSET 0) t
  WHERE r.t = ANY (p_held) AND t.epoch = r.e AND t.worker_id = p_worker AND t.state = 'a';
  IF v_own IS NOT NULL THEN
    v_over := zart_finish_steps_v1(v_own, p_items, p_worker);
    RETURN NEXT zart_say_v1('news', NULL, NULL, NULL);
  END IF;
  RETURN QUERY
  SELECT CASE WHEN r.t = ANY (v_over) OR (p_resend AND t.task_id IS NULL) THEN 'ended'
              WHEN t.epoch = r.e AND t.worker_id = p_worker THEN 'busy' ELSE 'lost' END,
         r.t, CASE WHEN t.epoch = r.e AND t.worker_id = p_worker THEN t.parent_ident END,
         NULL::bigint, NULL, NULL, NULL::bytea, NULL::float8
  FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer)
  LEFT JOIN LATERAL (SELECT * FROM zart_tasks t WHERE t.task_id = r.t OFFSET 0) t ON true;
END $$;

-- End spawned steps: the outcome goes into the journal of the run, without a turn, and wakes it; the task goes. Nothing is
-- recorded if the run has ended, or the body or handler that spawned it, if that has a record for the call, or if there
-- is no outcome (`o`). Returns which have ended: one whose run's row is held by somebody stays.
-- Locks: the caller holds the steps' rows; the runs' are taken SKIP LOCKED.
CREATE FUNCTION zart_finish_steps_v1(p_tasks uuid[], p_items jsonb, p_worker uuid) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
  v_over uuid[] := zart_hold_parents_v1(p_tasks);
BEGIN
  INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, args_hash, attempt, started_at, worker_id, payload)
  SELECT b.task_id, t.parent_ident, t.parent_seq, 'p', r.o, decode(r.h, 'hex'), least(r.a, 32767),
         clock_timestamp() - r.d * interval '1 second', p_worker, convert_to(r.p, 'UTF8')
  FROM jsonb_to_recordset(p_items) AS r(t uuid, o "char", h text, a integer, d float8, p text)
  CROSS JOIN LATERAL (SELECT * FROM zart_tasks t WHERE t.task_id = r.t OFFSET 0) t
  CROSS JOIN LATERAL (SELECT b.task_id, b.phase FROM zart_tasks b WHERE b.task_id = t.parent_task OFFSET 0) b
  WHERE r.t = ANY (v_over) AND r.o IS NOT NULL AND b.phase = t.parent_phase
  ORDER BY b.task_id, t.parent_ident
  ON CONFLICT (run_id, ident) DO NOTHING;
  UPDATE zart_tasks SET state = 'r', due_at = NULL
    WHERE task_id IN (SELECT t.parent_task FROM zart_tasks t WHERE t.task_id = ANY (v_over)) AND state = 'w';
  DELETE FROM zart_tasks WHERE task_id = ANY (v_over);
  RETURN v_over;
END $$;

-- Give spawned steps up for `w` seconds: until their next attempt is due, or for other workers.
-- Locks: needs the task rows.
CREATE FUNCTION zart_flush_delays_v1(p_worker uuid, p_items jsonb, p_held uuid[]) RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_item     record;
  v_standing text;
BEGIN
  FOR v_item IN SELECT * FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, w float8) LOOP
    v_standing := zart_standing_v1(p_worker, v_item.t, v_item.e, p_held);
    IF v_standing = 'own' THEN
      v_standing := zart_end_cancelled_v1(v_item.t);
    END IF;
    IF v_standing = 'live' THEN
      UPDATE zart_tasks
        SET state = 'w', worker_id = NULL, claim_id = NULL, crash_count = 0,
            due_at = clock_timestamp() + v_item.w * interval '1 second'
        WHERE task_id = v_item.t;
    END IF;
    RETURN NEXT zart_say_v1(CASE WHEN v_standing IN ('live', 'left') THEN 'parked' WHEN v_standing = 'busy' THEN 'busy'
                                 WHEN v_standing = 'ended' THEN 'ended' ELSE 'lost' END, v_item.t, NULL, v_item.w);
  END LOOP;
END $$;

-- Which items of bodies were not done, and why: `busy` or `lost`. A resend of what was done and left is silent.
CREATE FUNCTION zart_refuse_items_v1(p_worker uuid, p_items jsonb, p_held uuid[], p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE sql AS $$
  SELECT CASE k.standing WHEN 'busy' THEN 'busy' ELSE 'lost' END, r.t, r.i, NULL::bigint, NULL, NULL, NULL::bytea,
         NULL::float8
  FROM (SELECT d.t, d.e, zart_standing_v1(p_worker, d.t, d.e, p_held) AS standing
        FROM (SELECT DISTINCT t, e FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer)) d) k
  JOIN jsonb_to_recordset(p_items) AS r(t uuid, e integer, i text) ON r.t = k.t AND r.e = k.e
  WHERE k.standing <> 'own' AND NOT (p_resend AND k.standing IN ('left', 'over'))
$$;

-- What bodies may see already of the calls that `p_items` are about.
CREATE FUNCTION zart_known_outcomes_v1(p_items jsonb) RETURNS SETOF zart_answer_v1
LANGUAGE sql AS $$
  SELECT 'have', r.t, r.i, s.turn, s.kind::text, s.outcome::text, s.payload, NULL::float8
  FROM jsonb_to_recordset(p_items) AS r(t uuid, i text)
  CROSS JOIN LATERAL (SELECT s.turn, s.kind, s.outcome, s.payload FROM zart_steps s
                      WHERE s.run_id = r.t AND s.ident = r.i OFFSET 0) s
  WHERE s.turn IS NOT NULL AND s.outcome <> 'c'
$$;

-- Spawned steps that nobody wants any more: idle ones go, active ones are marked for their owner.
-- Locks: the caller holds the rows.
CREATE FUNCTION zart_drop_tasks_v1(p_tasks uuid[]) RETURNS void
LANGUAGE sql AS $$
  UPDATE zart_tasks SET cancel_requested_at = clock_timestamp()
    WHERE task_id = ANY (p_tasks) AND state = 'a' AND cancel_requested_at IS NULL;
  DELETE FROM zart_tasks WHERE task_id = ANY (p_tasks) AND state <> 'a'
$$;

-- The spawned steps of runs that end. One whose row somebody holds at this moment stays, and finds its run gone.
-- Locks: the caller holds the runs' task rows; the steps' are taken SKIP LOCKED.
CREATE FUNCTION zart_drop_spawned_v1(p_runs uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_tasks uuid[];
BEGIN
  SELECT array_agg(h.task_id) INTO v_tasks
  FROM (SELECT task_id FROM zart_tasks WHERE parent_task = ANY (p_runs) AND kind = 's'
        ORDER BY task_id FOR UPDATE SKIP LOCKED) h;
  IF v_tasks IS NOT NULL THEN
    PERFORM zart_drop_tasks_v1(v_tasks);
  END IF;
END $$;
