-- Bodies end, but not the runs that they have started: these are to be cancelled, each level in a transaction of its
-- own, so that none holds a whole tree. A child cannot be born afterwards: its birth, too, needs the parent's task row.
-- Locks: the caller holds the task rows of `p_runs`. Index: zart_tasks_children.
CREATE FUNCTION zart_leave_children_v1(p_runs uuid[]) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO zart_cancellations (task_id, reason)
  SELECT task_id, 'its parent has ended'
  FROM zart_tasks WHERE parent_task = ANY (p_runs) AND kind = 'b' ORDER BY parent_seq
$$;

-- The body has cancelled the call that started this execution (L12); detached or not, it is to be cancelled. Returns
-- whether there is such a run.
CREATE FUNCTION zart_give_child_up_v1(p_execution_id text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO zart_cancellations (task_id, reason)
    SELECT t.task_id, 'its parent has cancelled the call'
    FROM zart_executions x JOIN zart_tasks t ON t.task_id = x.current_run_id
    WHERE x.execution_id = p_execution_id;
  RETURN FOUND;
END $$;

-- Whom the end of these runs concerns: `leaves` if one has children, `news` if one has a parent to be told, or NULL.
CREATE FUNCTION zart_concern_v1(p_runs uuid[]) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN EXISTS (SELECT 1 FROM zart_tasks WHERE parent_task = ANY (p_runs) AND kind = 'b' OFFSET 0)
              THEN 'leaves'
              WHEN EXISTS (SELECT 1 FROM zart_tasks WHERE task_id = ANY (p_runs) AND parent_task IS NOT NULL OFFSET 0)
              THEN 'news' END
$$;

-- Cancel up to `p_limit` runs that were left or given up by their parents: one without an owner ends at once, and its own
-- children are next; an owner is asked; what follows a failure or an earlier cancel is to finish. Returns how many were
-- dealt with; what somebody holds goes to the back.
-- Locks: the chosen rows here, then the task rows, then their parents' (in zart_end_runs_v1), all SKIP LOCKED.
CREATE FUNCTION zart_cancel_children_v1(p_limit integer) RETURNS integer
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_rows  bigint[];
  v_held  uuid[];
  v_idle  uuid[];
  v_ended uuid[] := '{}';
  v_done  integer;
BEGIN
  SELECT array_agg(c.cancellation_id) INTO v_rows
  FROM (SELECT cancellation_id FROM zart_cancellations ORDER BY cancellation_id LIMIT p_limit
        FOR UPDATE SKIP LOCKED) c;
  IF v_rows IS NULL THEN
    RETURN 0;
  END IF;
  SELECT coalesce(array_agg(h.task_id), '{}') INTO v_held
  FROM (SELECT t.task_id FROM zart_tasks t
        WHERE t.task_id IN (SELECT task_id FROM zart_cancellations WHERE cancellation_id = ANY (v_rows))
        ORDER BY t.task_id FOR UPDATE SKIP LOCKED) h;
  UPDATE zart_tasks t SET cancel_requested_at = clock_timestamp(), cancel_reason = c.reason
    FROM zart_cancellations c
    WHERE c.cancellation_id = ANY (v_rows) AND t.task_id = c.task_id AND t.task_id = ANY (v_held)
      AND t.state = 'a' AND t.phase IN ('b', 'f') AND t.cancel_requested_at IS NULL;
  SELECT array_agg(task_id) INTO v_idle
    FROM zart_tasks WHERE task_id = ANY (v_held) AND state <> 'a' AND phase IN ('b', 'f');
  IF v_idle IS NOT NULL THEN
    v_ended := zart_end_runs_v1(
      v_idle, array_fill('cancelled'::text, ARRAY[cardinality(v_idle)]),
      ARRAY(SELECT (SELECT convert_to(to_json(c.reason)::text, 'UTF8') FROM zart_cancellations c
                    WHERE c.cancellation_id = ANY (v_rows) AND c.task_id = i.task_id
                    ORDER BY c.cancellation_id LIMIT 1)
            FROM unnest(v_idle) WITH ORDINALITY AS i(task_id, n) ORDER BY i.n), NULL, true);
  END IF;
  DELETE FROM zart_cancellations c
    WHERE c.cancellation_id = ANY (v_rows)
      AND (c.task_id = ANY (v_ended)
           OR NOT EXISTS (SELECT 1 FROM zart_tasks t WHERE t.task_id = c.task_id
                          AND (t.task_id <> ALL (v_held) OR t.task_id = ANY (v_idle))));
  GET DIAGNOSTICS v_done = ROW_COUNT;
  UPDATE zart_cancellations SET cancellation_id = DEFAULT WHERE cancellation_id = ANY (v_rows);
  RETURN v_done;
END $$;
