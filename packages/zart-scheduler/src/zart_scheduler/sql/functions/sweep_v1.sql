-- Waiting tasks whose time has come become ready. `p_worker` is who asks, and most likely claims them: a task that it
-- has just handed back because its code does not fit is left to others for a while longer.
-- Locks: those task rows, SKIP LOCKED. Index: zart_tasks_due; the time is a variable, since a volatile function cannot
-- bound an index scan, and every sleeper would be read.
CREATE FUNCTION zart_fire_due_v1(p_worker uuid, p_limit integer) RETURNS integer
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  v_now   timestamptz := clock_timestamp();
  v_tasks uuid[];
BEGIN
  SELECT array_agg(d.task_id) INTO v_tasks
  FROM (SELECT task_id FROM zart_tasks
        WHERE state = 'w' AND due_at <= v_now
          AND (diverged_by IS DISTINCT FROM p_worker OR due_at <= v_now - interval '1.5 second')
        ORDER BY due_at LIMIT p_limit FOR UPDATE SKIP LOCKED) d;
  UPDATE zart_tasks SET state = 'r', due_at = NULL WHERE task_id = ANY (v_tasks);
  RETURN coalesce(cardinality(v_tasks), 0);
END $$;

-- Declare workers dead whose lease is over, once and for all, and say which.
-- Locks: their rows FOR UPDATE, so that no flush of theirs is in flight afterwards, SKIP LOCKED, so that one frozen
-- client does not hold up the others. A row that stays locked for `p_grace` seconds past its lease is freed by force.
CREATE FUNCTION zart_mark_dead_v1(p_grace float8) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
  v_now  timestamptz := clock_timestamp();
  v_dead uuid[];
BEGIN
  SELECT array_agg(d.worker_id) INTO v_dead
  FROM (SELECT worker_id FROM zart_workers WHERE state <> 'dead' AND lease_expires_at <= v_now
        ORDER BY worker_id LIMIT 100 FOR UPDATE SKIP LOCKED) d;
  UPDATE zart_workers SET state = 'dead' WHERE worker_id = ANY (v_dead);
  IF v_dead IS NOT NULL THEN
    PERFORM zart_end_transactions_of_v1(v_dead);
  END IF;
  PERFORM zart_free_worker_v1(w.worker_id) FROM zart_workers w
    WHERE w.state <> 'dead' AND w.lease_expires_at <= v_now - p_grace * interval '1 second';
  RETURN coalesce(v_dead, '{}');
END $$;

-- Terminate the back end whose transaction has locked a worker's row since before its lease ended: a client that was
-- stopped between the fence and its commit. The row's xmax is that transaction, or a list of several. Best effort:
-- a role that may not signal the back end leaves it alone.
CREATE FUNCTION zart_free_worker_v1(p_worker uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_xmax    xid;
  v_expired timestamptz;
  v_holders xid[];
BEGIN
  SELECT xmax, lease_expires_at INTO v_xmax, v_expired FROM zart_workers WHERE worker_id = p_worker;
  v_holders := ARRAY[v_xmax];
  BEGIN
    v_holders := v_holders || ARRAY(SELECT m.xid FROM pg_get_multixact_members(v_xmax) m);
  EXCEPTION WHEN OTHERS THEN
    NULL;  -- an ordinary transaction, not a list
  END;
  PERFORM pg_terminate_backend(a.pid)
  FROM pg_locks x JOIN pg_stat_activity a ON a.pid = x.pid
  WHERE x.locktype = 'transactionid' AND x.granted AND x.mode = 'ExclusiveLock' AND x.transactionid = ANY (v_holders)
    AND a.xact_start < v_expired AND a.pid <> pg_backend_pid()
    AND EXISTS (SELECT 1 FROM pg_locks r WHERE r.pid = a.pid AND r.granted AND r.locktype = 'relation'
                AND r.relation = 'zart_workers'::regclass);
EXCEPTION WHEN insufficient_privilege THEN
  RAISE WARNING 'worker % holds its row past its lease and its connection may not be terminated', p_worker;
END $$;

-- Hand the tasks of dead workers back. A death counts against a task unless something was recorded since the claim: of a
-- body a turn above the claim's own, of a spawned step an attempt that failed at the dead worker; nor after it was trusted.
-- Locks: the task rows, SKIP LOCKED. Their owners are dead, so that no fence of theirs can pass any more.
CREATE FUNCTION zart_requeue_dead_v1(p_limit integer) RETURNS integer
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_tasks uuid[];
  v_task  zart_tasks;
BEGIN
  SELECT array_agg(l.task_id) INTO v_tasks
  FROM (SELECT t.task_id FROM zart_tasks t
        WHERE t.state = 'a' AND t.worker_id IN (SELECT zart_lost_owners_v1())
        ORDER BY t.task_id LIMIT p_limit FOR UPDATE SKIP LOCKED) l;
  FOR v_task IN SELECT * FROM zart_tasks WHERE task_id = ANY (v_tasks) AND state = 'a' LOOP
    CONTINUE WHEN zart_end_cancelled_v1(v_task.task_id) <> 'live';
    UPDATE zart_tasks
      SET state = 'r', worker_id = NULL, claim_id = NULL, due_at = NULL, epoch = v_task.epoch + 1,
          crash_count = CASE WHEN zart_has_recorded_v1(v_task) THEN 0 ELSE zart_crash_count_v1(v_task) END
      WHERE task_id = v_task.task_id;
  END LOOP;
  RETURN coalesce(cardinality(v_tasks), 0);
END $$;

-- How many workers have died over a task, with one more, in a row. Whoever may not survive one is a suspect at once.
CREATE FUNCTION zart_crash_count_v1(p_task zart_tasks) RETURNS integer
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN p_task.trusted THEN p_task.crash_count
              WHEN zart_max_crashes_v1(p_task.workflow, p_task.version) = 1 THEN greatest(p_task.crash_count + 1, 2)
              ELSE p_task.crash_count + 1 END
$$;

-- Fail a run, or a spawned step, whose workers died too often in a row without anything being recorded. Nobody claims it.
-- Locks: its task row, SKIP LOCKED.
CREATE FUNCTION zart_fail_crashed_v1(p_run uuid, p_payload bytea) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_kind "char";
BEGIN
  SELECT kind INTO v_kind FROM zart_tasks
    WHERE task_id = p_run AND state::text = 'r' AND crash_count >= zart_max_crashes_v1(workflow, version)
    FOR UPDATE SKIP LOCKED;
  IF v_kind = 's' THEN
    RETURN cardinality(zart_finish_steps_v1(
      ARRAY[p_run], jsonb_build_array(jsonb_build_object('t', p_run, 'o', 'e', 'p', convert_from(p_payload, 'UTF8'), 'a', 1)),
      NULL)) > 0;
  END IF;
  RETURN FOUND AND cardinality(zart_end_runs_v1(ARRAY[p_run], ARRAY['failed'], ARRAY[p_payload], NULL, true)) > 0;
END $$;

-- Let the next death of this claim's worker not count against the run.
CREATE FUNCTION zart_trust_v1(p_worker uuid, p_run uuid, p_epoch integer) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  IF NOT zart_fence_v1(p_worker) THEN
    RETURN false;
  END IF;
  UPDATE zart_tasks SET trusted = true WHERE task_id = p_run AND epoch = p_epoch AND worker_id = p_worker;
  RETURN true;
END $$;

-- Whether something was recorded for an active task since it was claimed.
CREATE FUNCTION zart_has_recorded_v1(p_task zart_tasks) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT CASE p_task.kind
           WHEN 'b' THEN EXISTS (SELECT 1 FROM zart_steps s
                                 WHERE s.run_id = p_task.run_id AND s.turn > p_task.epoch::bigint << 32)
                         OR EXISTS (SELECT 1 FROM zart_step_attempts a
                                    WHERE a.run_id = p_task.run_id AND a.kind <> 'p'
                                      AND a.worker_id = p_task.worker_id AND a.heartbeat IS NOT NULL)
           ELSE EXISTS (SELECT 1 FROM zart_step_attempts a
                        WHERE a.run_id = p_task.run_id AND a.ident = p_task.parent_ident
                          AND a.worker_id = p_task.worker_id AND num_nonnulls(a.error, a.heartbeat) > 0) END
$$;

-- Owners of active tasks that are dead or unknown. One index probe per owner (a skip scan over zart_tasks_owned), so
-- that the cost follows the number of owners, not of tasks nor of all the workers there ever were.
CREATE FUNCTION zart_lost_owners_v1() RETURNS SETOF uuid
LANGUAGE sql STABLE AS $$
  WITH RECURSIVE owner AS (
    (SELECT worker_id FROM zart_tasks WHERE state = 'a' ORDER BY worker_id LIMIT 1)
    UNION ALL
    SELECT (SELECT t.worker_id FROM zart_tasks t WHERE t.state = 'a' AND t.worker_id > owner.worker_id
            ORDER BY t.worker_id LIMIT 1)
    FROM owner WHERE owner.worker_id IS NOT NULL
  )
  SELECT owner.worker_id FROM owner
  WHERE owner.worker_id IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM zart_workers w WHERE w.worker_id = owner.worker_id AND w.state <> 'dead')
$$;
