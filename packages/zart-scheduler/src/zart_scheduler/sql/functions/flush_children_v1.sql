-- Start the child executions that bodies ask for. What an earlier pass or the first try of a resend has started, or the
-- body has cancelled since, is not started again; a parent that is asked to cancel starts nothing more. A detached
-- child (`d`) is no matter of its parent's any more: the call's outcome, its id, is recorded here and now.
-- Locks: needs the parents' task rows, and looks in statements after the one that locked them: so nothing is born after
-- its parent's end, and the end of a child finds its parent or waits for it.
CREATE FUNCTION zart_flush_children_v1(p_worker uuid, p_items jsonb, p_held uuid[], p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_run  record;
  v_own  uuid[] := '{}';
  v_over uuid[] := '{}';
  v_born text[];
BEGIN
  FOR v_run IN
    SELECT r.t, zart_standing_v1(p_worker, r.t, r.e, p_held) AS standing
    FROM (SELECT DISTINCT t, e FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer)) r
  LOOP
    IF v_run.standing = 'own' THEN
      v_own := v_own || v_run.t;
    ELSIF p_resend AND v_run.standing IN ('left', 'over') THEN
      v_over := v_over || v_run.t;
    ELSE
      RETURN QUERY
      SELECT (zart_say_v1(CASE v_run.standing WHEN 'busy' THEN 'busy' ELSE 'lost' END, r.t, r.i, NULL)).*
      FROM jsonb_to_recordset(p_items) AS r(t uuid, i text) WHERE r.t = v_run.t;
    END IF;
  END LOOP;
  v_born := zart_bear_children_v1(p_items, v_own);
  IF v_born IS NOT NULL THEN
    INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, turn, args_hash, started_at, worker_id, payload)
      SELECT r.t, r.i, r.q, 'k', 'o', r.n, decode(r.h, 'hex'), clock_timestamp(), p_worker, convert_to(r.d, 'UTF8')
      FROM jsonb_to_recordset(p_items) AS r(t uuid, i text, q integer, n bigint, h text, d text, x text)
      WHERE r.d IS NOT NULL AND r.x = ANY (v_born);
    RETURN NEXT zart_say_v1('news', NULL, NULL, NULL);
  END IF;
  RETURN QUERY
  SELECT 'have', r.t, r.i, s.turn, s.kind::text, s.outcome::text, s.payload, NULL::float8
  FROM jsonb_to_recordset(p_items) AS r(t uuid, i text)
  CROSS JOIN LATERAL (SELECT * FROM zart_steps s WHERE s.run_id = r.t AND s.ident = r.i OFFSET 0) s
  WHERE r.t = ANY (v_own || v_over) AND s.turn IS NOT NULL AND s.outcome <> 'c';
END $$;

-- The births themselves: executions with their parents' tags, each with a run and a task. Returns the ids of the new.
CREATE FUNCTION zart_bear_children_v1(p_items jsonb, p_parents uuid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
  v_born text[];
BEGIN
  WITH born AS (
    INSERT INTO zart_executions (execution_id, workflow, input_hash, current_run_id, tags, parent_execution_id,
                                 parent_ident)
    SELECT r.x, r.name, decode(r.ih, 'hex'), r.r, p.tags, p.execution_id, r.i
    FROM jsonb_to_recordset(p_items) AS r(t uuid, i text, q integer, x text, r uuid, name text, ih text)
    CROSS JOIN LATERAL (SELECT e.execution_id, e.tags FROM zart_tasks t JOIN zart_executions e USING (execution_id)
                        WHERE t.task_id = r.t AND t.cancel_requested_at IS NULL OFFSET 0) p
    WHERE r.t = ANY (p_parents)
      AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = r.t AND s.ident = r.i OFFSET 0)
    ORDER BY r.t, r.q
    ON CONFLICT (execution_id) DO NOTHING
    RETURNING execution_id
  )
  SELECT array_agg(execution_id) INTO v_born FROM born;
  INSERT INTO zart_execution_runs (run_id, execution_id, workflow, version, queue, priority, input)
    SELECT r.r, r.x, r.name, r.v, r.queue, r.pr, convert_to(r.p, 'UTF8')
    FROM jsonb_to_recordset(p_items) AS r(x text, r uuid, name text, v text, queue text, pr integer, p text)
    WHERE r.x = ANY (v_born);
  INSERT INTO zart_tasks (task_id, run_id, execution_id, queue, workflow, version, priority, parent_task, parent_ident,
                          parent_seq, parent_hash, parent_phase)
    SELECT r.r, r.r, r.x, r.queue, r.name, r.v, r.pr, w.task_id, CASE WHEN w.task_id IS NOT NULL THEN r.i END,
           CASE WHEN w.task_id IS NOT NULL THEN r.q END, decode(r.h, 'hex'), w.phase
    FROM jsonb_to_recordset(p_items) AS r(t uuid, i text, q integer, x text, r uuid, name text, v text, queue text,
                                          pr integer, h text, d text)
    LEFT JOIN LATERAL (SELECT t.task_id, t.phase FROM zart_tasks t WHERE t.task_id = r.t AND r.d IS NULL OFFSET 0) w
      ON true
    WHERE r.x = ANY (v_born) ORDER BY r.t, r.q;
  RETURN v_born;
END $$;
