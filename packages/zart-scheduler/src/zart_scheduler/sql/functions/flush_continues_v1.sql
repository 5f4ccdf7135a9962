-- End runs by their next ones (continue_as_new): in one transaction the run completes and the next is made, with an
-- empty journal, the same version, queue and priority, and what belongs to the execution. A run that somebody has asked
-- to cancel ends as cancelled instead: no next run would ever hear of it.
-- Locks: needs the execution rows and the task rows, see zart_hold_tasks_v1.
CREATE FUNCTION zart_flush_continues_v1(p_worker uuid, p_items jsonb, p_held uuid[]) RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_item     record;
  v_standing text;
BEGIN
  FOR v_item IN SELECT * FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, r uuid, p text, unseen jsonb)
  LOOP
    v_standing := zart_standing_v1(p_worker, v_item.t, v_item.e, p_held);
    IF v_standing = 'own' THEN
      PERFORM zart_unsee_v1(v_item.t, v_item.unseen);
      v_standing := zart_end_cancelled_v1(v_item.t);
    END IF;
    IF v_standing = 'live' THEN
      PERFORM zart_replace_run_v1(v_item.t, v_item.r, 'completed', 'null', p_worker, NULL, NULL, NULL,
                                  convert_to(v_item.p, 'UTF8'), NULL);
    END IF;
    RETURN NEXT zart_say_v1(CASE v_standing WHEN 'live' THEN 'continued' WHEN 'over' THEN 'continued'
                                            WHEN 'ended' THEN 'released' WHEN 'busy' THEN 'busy' ELSE 'lost' END,
                            v_item.t, NULL, NULL);
  END LOOP;
END $$;

-- Lock the execution rows of the runs that are to be followed by others, before any task row, and return those of
-- `p_needed` whose task may be locked next: a run whose execution another transaction holds is busy as a whole.
-- SKIP LOCKED: a user's transaction may hold a row for long.
CREATE FUNCTION zart_hold_executions_v1(p_items jsonb, p_needed uuid[]) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
  v_runs uuid[] := ARRAY(SELECT (item ->> 't')::uuid FROM jsonb_array_elements(p_items) AS item);
  v_free uuid[];
BEGIN
  SELECT coalesce(array_agg(h.current_run_id), '{}') INTO v_free
  FROM (SELECT x.current_run_id FROM zart_executions x
        WHERE x.execution_id = ANY (ARRAY(SELECT r.execution_id FROM zart_execution_runs r WHERE r.run_id = ANY (v_runs)))
        ORDER BY x.execution_id FOR UPDATE SKIP LOCKED) h;
  RETURN ARRAY(SELECT n.run_id FROM unnest(p_needed) AS n(run_id)
               WHERE n.run_id <> ALL (v_runs) OR n.run_id = ANY (v_free));
END $$;
