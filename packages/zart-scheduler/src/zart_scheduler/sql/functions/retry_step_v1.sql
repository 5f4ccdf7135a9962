-- What a recorded error says; nothing, if it has characters that no text of PostgreSQL can hold, such as NUL.
CREATE FUNCTION zart_read_error_v1(p_error bytea, OUT kind text, OUT type text, OUT message text)
LANGUAGE plpgsql STABLE AS $$
BEGIN
  SELECT e ->> 'kind', e ->> 'type', e ->> 'message' INTO kind, type, message
    FROM CAST(convert_from(p_error, 'UTF8') AS json) AS e;
EXCEPTION WHEN data_exception THEN
  NULL;
END $$;

-- Open a failed run again for one more try of the step that failed it; `p_step` names another one that has failed.
-- The failed record becomes a failed attempt, after which there is one more; what it cancelled by failing is forgotten,
-- so that it may happen this time; everything else stays recorded (L1). A run that the engine ended, by its deadline or
-- for crashes, goes on where it was. The deadline is as far away as the first one was at the first claim.
-- The task row starts with the final epoch: with a lower one its turns would sort before those of the journal.
-- Locks: the execution's row; the run has no task.
CREATE FUNCTION zart_retry_step_v1(p_execution_id text, p_step text, p_request text, p_actor text, p_asked jsonb,
                                   OUT status text, OUT run_id uuid, OUT state text, OUT names text[])
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_run  zart_execution_runs;
  v_done jsonb;
  v_step zart_steps;
BEGIN
  PERFORM zart_require_read_committed_v1();
  PERFORM 1 FROM zart_executions x WHERE x.execution_id = p_execution_id FOR UPDATE;
  SELECT r.* INTO v_run
    FROM zart_executions x JOIN zart_execution_runs r ON r.run_id = x.current_run_id
    WHERE x.execution_id = p_execution_id;
  IF NOT FOUND THEN
    status := 'unknown';
    RETURN;
  END IF;
  SELECT f.status, f.done INTO status, v_done
    FROM zart_find_request_v1(p_execution_id, 'retry_step', p_request, p_asked) f;
  run_id := coalesce((v_done ->> 'run_id')::uuid, v_run.run_id);
  IF status IS NOT NULL THEN
    RETURN;
  END IF;
  IF v_run.handled THEN
    status := 'handled';
    RETURN;
  END IF;
  IF v_run.state <> 'failed' THEN
    status := 'illegal';
    SELECT s.state INTO state FROM zart_run_states s WHERE s.run_id = v_run.run_id;
    RETURN;
  END IF;
  v_step := zart_failed_step_v1(v_run, p_step);
  IF v_step.run_id IS NULL AND (p_step IS NOT NULL OR NOT zart_ended_by_engine_v1(v_run.outcome)) THEN
    status := 'no_step';
    names := ARRAY(SELECT DISTINCT zart_call_name_v1(s.ident) FROM zart_steps s
                   WHERE s.run_id = v_run.run_id AND s.outcome IN ('e', 't', 'x') ORDER BY 1 LIMIT 50);
    RETURN;
  END IF;
  IF zart_needs_children_v1(v_run, v_step) THEN
    status := 'children';
    RETURN;
  END IF;
  IF v_step.run_id IS NOT NULL THEN
    PERFORM zart_reset_step_v1(v_step);
  END IF;
  PERFORM zart_reopen_run_v1(v_run);
  PERFORM zart_note_request_v1(p_execution_id, 'retry_step', p_request, p_actor, p_asked,
                               jsonb_build_object('run_id', v_run.run_id, 'ident', v_step.ident));
  status := 'done';
END $$;

-- The failed step of a run: the last one that failed as the run did, else the last one that failed.
CREATE FUNCTION zart_failed_step_v1(p_run zart_execution_runs, p_step text) RETURNS zart_steps
LANGUAGE sql STABLE AS $$
  SELECT s.* FROM zart_steps s CROSS JOIN zart_read_error_v1(p_run.outcome) r CROSS JOIN zart_read_error_v1(s.payload) e
  WHERE s.run_id = p_run.run_id AND s.turn IS NOT NULL AND s.outcome IN ('e', 't', 'x')
    AND (p_step IS NULL OR zart_call_name_v1(s.ident) = p_step)
  ORDER BY coalesce((e.type, e.message) = (r.type, r.message), false) DESC, s.turn DESC, s.ident DESC
  LIMIT 1
$$;

CREATE FUNCTION zart_ended_by_engine_v1(p_outcome bytea) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT coalesce(kind IN ('DeadlineExceeded', 'WorkerCrashed'), false) FROM zart_read_error_v1(p_outcome)
$$;

-- Whether the body would ask again for a child that it has asked for before: a child is started once in a run, and this
-- one has failed, or was cancelled together with its parent's run or by the failure of the step.
CREATE FUNCTION zart_needs_children_v1(p_run zart_execution_runs, p_step zart_steps) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT coalesce(p_step.kind = 'k', false)
      OR EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = p_step.run_id AND s.kind = 'k' AND s.outcome = 'c'
                 AND (s.turn, s.ident) > (p_step.turn, p_step.ident))
      OR EXISTS (SELECT 1 FROM zart_executions x
                 WHERE x.parent_execution_id = p_run.execution_id AND x.created_at >= p_run.created_at
                   AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = p_run.run_id AND s.ident = x.parent_ident))
$$;

CREATE FUNCTION zart_reset_step_v1(p_step zart_steps) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM zart_steps s
    WHERE s.run_id = p_step.run_id
      AND (s.ident = p_step.ident
           OR ((s.outcome = 'c' OR (s.kind = 'p' AND s.outcome = 'x'))
               AND (s.turn, s.ident) > (p_step.turn, p_step.ident)));
  IF p_step.kind IN ('s', 'c', 'p') THEN
    UPDATE zart_step_attempts SET deadline_at = NULL WHERE run_id = p_step.run_id AND ident = p_step.ident;
    INSERT INTO zart_step_attempts AS a (run_id, ident, attempt, kind, started_at, ended_at, worker_id, error, is_last)
      VALUES (p_step.run_id, p_step.ident, p_step.attempt, p_step.kind, coalesce(p_step.started_at, p_step.completed_at),
              p_step.completed_at, p_step.worker_id, p_step.payload, true)
      ON CONFLICT (run_id, ident, attempt) DO UPDATE
        SET ended_at = excluded.ended_at, next_at = NULL, error = excluded.error, is_last = true,
            started_at = excluded.started_at, worker_id = excluded.worker_id;
  END IF;
END $$;

CREATE FUNCTION zart_reopen_run_v1(p_run zart_execution_runs) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_deadline timestamptz := clock_timestamp() + (p_run.deadline_at - p_run.started_at);
BEGIN
  UPDATE zart_execution_runs
    SET state = 'live', outcome = NULL, finished_at = NULL, final_epoch = NULL, worker_id = NULL, orphans = '{}',
        deadline_at = v_deadline
    WHERE run_id = p_run.run_id;
  INSERT INTO zart_tasks (task_id, run_id, execution_id, queue, workflow, version, priority, epoch, deadline_at)
    VALUES (p_run.run_id, p_run.run_id, p_run.execution_id, p_run.queue, p_run.workflow, coalesce(p_run.version, ''),
            p_run.priority, p_run.final_epoch, v_deadline);
END $$;
