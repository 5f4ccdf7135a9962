-- A worker's incarnation begins: its lease and its description.
CREATE FUNCTION zart_register_worker_v1(p_worker uuid, p_lease float8, p_name text, p_host text, p_pid integer,
                                        p_queues text[], p_workflows text[], p_version text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO zart_workers (worker_id, lease_expires_at)
    VALUES (p_worker, clock_timestamp() + p_lease * interval '1 second') ON CONFLICT (worker_id) DO NOTHING;
  INSERT INTO zart_worker_info (worker_id, name, host, pid, queues, workflows, version)
    VALUES (p_worker, p_name, p_host, p_pid, p_queues, p_workflows, p_version) ON CONFLICT (worker_id) DO NOTHING;
END $$;

-- The heartbeat. False: the worker is dead or its lease is over; neither can be taken back.
-- Locks: the worker's row FOR NO KEY UPDATE, which passes a flush that holds the fence and waits for a taker.
CREATE FUNCTION zart_renew_v1(p_worker uuid, p_lease float8) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM zart_workers WHERE worker_id = p_worker FOR NO KEY UPDATE;
  UPDATE zart_workers SET lease_expires_at = clock_timestamp() + p_lease * interval '1 second'
    WHERE worker_id = p_worker AND state <> 'dead' AND lease_expires_at > clock_timestamp();
  RETURN FOUND;
END $$;

-- The end of a graceful stop, and of anything this incarnation could still write.
CREATE FUNCTION zart_retire_v1(p_worker uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM zart_workers WHERE worker_id = p_worker FOR UPDATE;
  UPDATE zart_workers SET state = 'dead' WHERE worker_id = p_worker AND state <> 'dead';
END $$;

-- The active tasks of a worker for which there is something to do: asked to cancel, past the deadline, or something has
-- come from outside for a body. One look for all of them, without locks; what it finds is acted on under the fence.
-- Planner: OFFSET 0 makes each run one probe of a partial index; the alternative hashes every sleeper there is.
CREATE FUNCTION zart_look_v1(p_worker uuid)
RETURNS TABLE (task_id uuid, epoch integer, cancel boolean, cancel_reason text, overdue boolean, news boolean)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
BEGIN
  RETURN QUERY
  SELECT x.* FROM (
    SELECT t.task_id, t.epoch, t.cancel_requested_at IS NOT NULL AS cancel, t.cancel_reason,
           coalesce(t.deadline_at <= v_now, false) AS overdue,
           EXISTS (SELECT 1 FROM zart_steps s
                   WHERE s.run_id = t.task_id AND s.turn IS NULL AND (s.wake_at IS NULL OR s.wake_at <= v_now) OFFSET 0)
           OR EXISTS (SELECT 1 FROM zart_waits w WHERE w.run_id = t.task_id AND w.deadline <= v_now OFFSET 0) AS news
    FROM zart_tasks t WHERE t.worker_id = p_worker AND t.state = 'a') x
  WHERE x.cancel OR x.overdue OR x.news;
END $$;
