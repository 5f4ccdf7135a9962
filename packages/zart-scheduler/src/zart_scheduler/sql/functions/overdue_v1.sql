-- End what nobody ended in time: runs without an owner past their deadline, and runs whose owner did not obey a
-- deadline or a cancel within `p_grace` seconds.
CREATE FUNCTION zart_end_overdue_v1(p_limit integer, p_grace float8, p_deadline_payload bytea) RETURNS integer
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
  RETURN zart_end_overdue_idle_v1(p_limit, p_deadline_payload)
       + zart_end_overdue_owned_v1(p_limit, p_grace, p_deadline_payload);
END $$;

-- Locks: the task rows, SKIP LOCKED. Index: zart_tasks_deadline; the time is a variable, so that it can bound the scan.
CREATE FUNCTION zart_end_overdue_idle_v1(p_limit integer, p_deadline_payload bytea) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_now  timestamptz := clock_timestamp();
  v_runs uuid[];
BEGIN
  SELECT array_agg(d.task_id) INTO v_runs
  FROM (SELECT task_id FROM zart_tasks WHERE deadline_at <= v_now AND state <> 'a'
        ORDER BY deadline_at LIMIT p_limit FOR UPDATE SKIP LOCKED) d;
  IF v_runs IS NULL THEN
    RETURN 0;
  END IF;
  RETURN cardinality(
    zart_end_runs_v1(v_runs, array_fill('failed'::text, ARRAY[cardinality(v_runs)]),
                     array_fill(p_deadline_payload, ARRAY[cardinality(v_runs)]), NULL, true));
END $$;

-- Take runs away from an owner that lives but did not obey.
-- Locks: the owner's worker row FOR UPDATE first, so that no flush of it is in flight, then the task; both SKIP LOCKED:
-- whoever holds a worker row that way must not wait for anything.
CREATE FUNCTION zart_end_overdue_owned_v1(p_limit integer, p_grace float8, p_deadline_payload bytea) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_late  timestamptz := clock_timestamp() - p_grace * interval '1 second';
  v_found record;
  v_task  zart_tasks;
  v_ended integer := 0;
BEGIN
  FOR v_found IN
    (SELECT task_id, worker_id FROM zart_tasks WHERE state = 'a' AND deadline_at <= v_late
     ORDER BY deadline_at LIMIT p_limit)
    UNION
    (SELECT task_id, worker_id FROM zart_tasks WHERE state = 'a' AND cancel_requested_at <= v_late
     ORDER BY cancel_requested_at LIMIT p_limit)
    ORDER BY worker_id, task_id
  LOOP
    PERFORM 1 FROM zart_workers WHERE worker_id = v_found.worker_id FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    SELECT * INTO v_task FROM zart_tasks
      WHERE task_id = v_found.task_id AND worker_id = v_found.worker_id AND state = 'a'
        AND (deadline_at <= v_late OR cancel_requested_at <= v_late)
      FOR UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    v_ended := v_ended + 1;
    IF v_task.cancel_requested_at < coalesce(v_task.deadline_at, 'infinity') THEN  -- whichever came first
      PERFORM zart_end_cancelled_v1(v_task.task_id);
    ELSE
      PERFORM zart_end_runs_v1(ARRAY[v_task.task_id], ARRAY['failed'], ARRAY[p_deadline_payload], NULL, true);
    END IF;
  END LOOP;
  RETURN v_ended;
END $$;
