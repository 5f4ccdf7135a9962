-- Claim up to `p_limit` ready tasks of the given queues and workflow versions for one worker, fenced.
-- p_workflows, p_versions, p_current and p_timeouts are parallel, one entry per registered version; a current one also
-- takes tasks that are bound to no version yet, and binds them.
-- Locks: the worker's row, then the chosen task rows, SKIP LOCKED, so that claimers never wait for each other.
-- Index: zart_tasks_ready, one short range per queue and version; what nobody here knows is never touched.
-- With p_suspects it takes what may have killed the workers that had it before, and nothing else.
-- Planner: a plan made while the table was small must not scan or sort all of it at every claim; hence the settings,
-- and below no condition that a partial index other than zart_tasks_ready could answer by a full scan.
CREATE FUNCTION zart_claim_v1(p_worker uuid, p_claim uuid, p_queues text[], p_workflows text[], p_versions text[],
                              p_current boolean[], p_timeouts float8[], p_limit integer, p_suspects boolean)
RETURNS TABLE (task_id uuid, run_id uuid, execution_id text, epoch integer, workflow text, version text,
               crash_count smallint, kind text, fenced boolean)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  v_tasks uuid[];
BEGIN
  IF NOT zart_fence_v1(p_worker) THEN
    fenced := true;
    RETURN NEXT;
    RETURN;
  END IF;
  IF p_suspects THEN
    v_tasks := zart_choose_suspects_v1(p_queues, p_workflows, p_versions, p_current, p_limit);
  ELSE
    v_tasks := zart_choose_ready_v1(p_queues, p_workflows, p_versions, p_current, p_limit);
  END IF;
  IF v_tasks IS NULL THEN
    RETURN;
  END IF;
  UPDATE zart_tasks t
    SET state = 'a', worker_id = p_worker, claim_id = p_claim, epoch = t.epoch + 1, due_at = NULL, trusted = false,
        diverged_by = NULL,
        version = h.version,
        deadline_at = CASE WHEN t.epoch = 0 AND t.kind = 'b'
                           THEN clock_timestamp() + h.timeout * interval '1 second'
                           ELSE t.deadline_at END
    FROM unnest(p_workflows, p_versions, p_current, p_timeouts) AS h(workflow, version, current, timeout)
    WHERE t.task_id = ANY (v_tasks) AND t.workflow = h.workflow
      AND (t.version = h.version OR (t.version = '' AND h.current));
  UPDATE zart_execution_runs r
    SET version = t.version, started_at = clock_timestamp(), deadline_at = t.deadline_at
    FROM zart_tasks t
    WHERE t.task_id = ANY (v_tasks) AND t.claim_id = p_claim AND t.epoch = 1 AND r.run_id = t.task_id
      AND r.started_at IS NULL;
  PERFORM zart_take_over_journals_v1(v_tasks, p_claim);
  RETURN QUERY
  SELECT t.task_id, t.run_id, t.execution_id, t.epoch, t.workflow, t.version, t.crash_count, t.kind::text, false
    FROM zart_tasks t
    WHERE t.task_id = ANY (v_tasks) AND t.claim_id = p_claim
    ORDER BY t.priority DESC, t.seq;
END $$;

-- Look first, without locks, then lock what nobody else holds. If the head of the queue is held by others (a user's
-- transaction may hold a row for long), look again with the lock inside, and so find what is behind it.
-- A task past its deadline is left to the sweeper: no worker may begin a step of it.
CREATE FUNCTION zart_choose_ready_v1(p_queues text[], p_workflows text[], p_versions text[], p_current boolean[],
                                     p_limit integer) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
  v_seen uuid[];
  v_held uuid[];
BEGIN
  SELECT array_agg(c.task_id) INTO v_seen
  FROM (SELECT c.task_id
        FROM zart_known_pairs_v1(p_queues, p_workflows, p_versions, p_current) AS k(queue, workflow, version)
        CROSS JOIN LATERAL (
          SELECT t.task_id, t.priority, t.seq FROM zart_tasks t
          WHERE t.state = 'r' AND t.crash_count < 2 AND t.queue = k.queue AND t.workflow = k.workflow AND t.version = k.version
          ORDER BY t.priority DESC, t.seq LIMIT p_limit) c
        ORDER BY c.priority DESC, c.seq LIMIT p_limit) c;
  IF v_seen IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT array_agg(h.task_id) INTO v_held
  FROM (SELECT t.task_id FROM zart_tasks t
        WHERE t.task_id = ANY (v_seen) AND t.state::text = 'r'
          AND (t.deadline_at IS NULL OR t.deadline_at > clock_timestamp())
        ORDER BY t.task_id FOR UPDATE SKIP LOCKED) h;
  IF cardinality(v_seen) < p_limit OR coalesce(cardinality(v_held), 0) * 2 >= p_limit THEN
    RETURN v_held;
  END IF;
  SELECT array_agg(c.task_id) INTO v_held
  FROM (SELECT c.task_id
        FROM zart_known_pairs_v1(p_queues, p_workflows, p_versions, p_current) AS k(queue, workflow, version)
        CROSS JOIN LATERAL (
          SELECT t.task_id, t.priority, t.seq FROM zart_tasks t
          WHERE t.state = 'r' AND t.crash_count < 2 AND t.queue = k.queue AND t.workflow = k.workflow AND t.version = k.version
            AND (t.deadline_at IS NULL OR t.deadline_at > clock_timestamp())
          ORDER BY t.priority DESC, t.seq LIMIT p_limit FOR UPDATE SKIP LOCKED) c
        ORDER BY c.priority DESC, c.seq LIMIT p_limit) c;
  RETURN v_held;
END $$;

-- Runs whose workers died twice in a row or more, but not so often that they are about to be failed for it.
-- Index: zart_tasks_suspect.
CREATE FUNCTION zart_choose_suspects_v1(p_queues text[], p_workflows text[], p_versions text[], p_current boolean[],
                                        p_limit integer) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
  v_held uuid[];
BEGIN
  SELECT array_agg(c.task_id) INTO v_held
  FROM (SELECT c.task_id
        FROM zart_known_pairs_v1(p_queues, p_workflows, p_versions, p_current) AS k(queue, workflow, version)
        CROSS JOIN LATERAL (
          SELECT t.task_id, t.priority, t.seq FROM zart_tasks t
          WHERE t.state = 'r' AND t.crash_count >= 2
            AND t.queue = k.queue AND t.workflow = k.workflow AND t.version = k.version
            AND (t.deadline_at IS NULL OR t.deadline_at > clock_timestamp())
            AND t.crash_count < zart_max_crashes_v1(t.workflow, t.version)
          ORDER BY t.priority DESC, t.seq LIMIT p_limit FOR UPDATE SKIP LOCKED) c
        ORDER BY c.priority DESC, c.seq LIMIT p_limit) c;
  RETURN v_held;
END $$;

-- How many deaths in a row fail a run of that version.
CREATE FUNCTION zart_max_crashes_v1(p_workflow text, p_version text) RETURNS integer
LANGUAGE sql STABLE AS $$
  SELECT coalesce((SELECT max_crashes FROM zart_workflows WHERE workflow = p_workflow AND version = p_version), 5)
$$;

-- Every queue with every version a worker knows; '' stands for tasks that are bound to none yet.
CREATE FUNCTION zart_known_pairs_v1(p_queues text[], p_workflows text[], p_versions text[], p_current boolean[])
RETURNS TABLE (queue text, workflow text, version text)
LANGUAGE sql IMMUTABLE AS $$
  SELECT q.queue, h.workflow, h.version
  FROM unnest(p_queues) AS q(queue)
  CROSS JOIN (SELECT workflow, version FROM unnest(p_workflows, p_versions) AS v(workflow, version)
              UNION
              SELECT workflow, '' FROM unnest(p_workflows, p_current) AS c(workflow, current) WHERE current) h
$$;

-- What came while nobody owned the claimed runs: timeouts are recorded, and all that has come gets the claim's turn.
-- A statement after the one that locked the rows: it sees whatever was recorded before the lock was had.
CREATE FUNCTION zart_take_over_journals_v1(p_tasks uuid[], p_claim uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_task record;
BEGIN
  FOR v_task IN
    SELECT run_id, epoch FROM zart_tasks
    WHERE task_id = ANY (p_tasks) AND claim_id = p_claim AND epoch > 1 AND kind = 'b'
  LOOP
    PERFORM zart_expire_waits_v1(ARRAY[v_task.run_id]);
    UPDATE zart_steps SET turn = v_task.epoch::bigint << 32
      WHERE run_id = v_task.run_id AND turn IS NULL AND (wake_at IS NULL OR wake_at <= clock_timestamp());
  END LOOP;
END $$;
