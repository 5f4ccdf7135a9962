-- End runs: the task and its waits go, the run row says how, and whoever started it is told. Returns the runs that have
-- ended: one whose parent's row is held by another transaction is left as it is, for a later try.
-- One with rollbacks to be run, or whose workflow has a handler for such an end, does not end: it is handed to those.
-- p_undo says of which there are rollbacks, if their owner ends them; NULL: their journals tell whether there were any.
-- `p_taken` = by another than the owner: the final epoch is
-- one higher, so that the owner cannot take this end for its own.
-- Locks: the caller holds the task rows; their parents' are taken SKIP LOCKED.
CREATE FUNCTION zart_end_runs_v1(p_runs uuid[], p_states text[], p_outcomes bytea[], p_worker uuid, p_taken boolean,
                                 p_undo boolean[] DEFAULT NULL) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
  v_handed uuid[] := zart_hand_on_v1(p_runs, p_states, p_outcomes, p_taken, p_undo);
  v_runs   uuid[] := zart_hold_parents_v1(ARRAY(SELECT unnest(p_runs) EXCEPT SELECT unnest(v_handed)));
BEGIN
  PERFORM zart_close_body_v1(v_runs || v_handed);
  PERFORM zart_tell_parent_v1(t.parent_task, t.parent_ident, t.parent_seq, 'k',
                              (CASE WHEN x.state = 'completed' THEN 'o' WHEN x.state = 'failed' OR t.phase = 'f' THEN 'e'
                                    ELSE 'x' END)::"char",
                              CASE WHEN t.phase = 'f' AND x.state = 'cancelled' THEN r.outcome ELSE x.outcome END,
                              t.parent_phase, t.parent_hash, r.created_at)
    FROM unnest(p_runs, p_states, p_outcomes) AS x(run_id, state, outcome) JOIN zart_tasks t ON t.task_id = x.run_id
    JOIN zart_execution_runs r ON r.run_id = x.run_id
    WHERE x.run_id = ANY (v_runs) AND t.parent_task IS NOT NULL;
  WITH gone AS (
    DELETE FROM zart_tasks WHERE task_id = ANY (v_runs) RETURNING task_id, epoch, phase
  )
  UPDATE zart_execution_runs r
    -- A cancel stops the handler of a failure, and the failure stands.
    SET state = CASE WHEN gone.phase = 'f' AND x.state = 'cancelled' THEN 'failed' ELSE x.state END,
        outcome = CASE WHEN gone.phase = 'f' AND x.state = 'cancelled' THEN r.outcome ELSE x.outcome END, finished_at = clock_timestamp(), worker_id = p_worker,
        final_epoch = gone.epoch + p_taken::integer
    FROM unnest(p_runs, p_states, p_outcomes) AS x(run_id, state, outcome) JOIN gone ON gone.task_id = x.run_id
    WHERE r.run_id = x.run_id;
  RETURN v_runs || v_handed;
END $$;

-- A body is over, whatever follows: its waits, spawned steps and children go, and what it never saw of the mailbox returns there.
CREATE FUNCTION zart_close_body_v1(p_runs uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM zart_return_unseen_v1(p_runs);
  DELETE FROM zart_waits WHERE run_id = ANY (p_runs);
  PERFORM zart_drop_spawned_v1(p_runs);
  PERFORM zart_leave_children_v1(p_runs);
END $$;

-- Hand runs that failed or were cancelled to their rollbacks, and then to the handlers of their workflows: how the body
-- ended is recorded, and the task is ready for any worker that knows the workflow, without a deadline. Returns those runs.
-- A run that never began has nothing to be handled, and a handler is not handled again.
CREATE FUNCTION zart_hand_on_v1(p_runs uuid[], p_states text[], p_outcomes bytea[], p_taken boolean, p_undo boolean[])
RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
  v_run    record;
  v_phase  "char";
  v_handed uuid[] := '{}';
BEGIN
  IF NOT p_states && ARRAY['failed', 'cancelled'] THEN
    RETURN '{}';
  END IF;
  FOR v_run IN
    SELECT x.run_id, x.state, x.outcome, x.undo, t.phase, coalesce(w.on_failure, false) AS on_failure,
           coalesce(w.on_cancel, false) AS on_cancel
    FROM unnest(p_runs, p_states, p_outcomes, coalesce(p_undo, array_fill(NULL::boolean, ARRAY[cardinality(p_runs)])))
      AS x(run_id, state, outcome, undo)
    JOIN zart_tasks t ON t.task_id = x.run_id
    LEFT JOIN zart_workflows w ON w.workflow = t.workflow AND w.version = t.version
    WHERE x.state <> 'completed' AND t.epoch > 0 AND t.phase NOT IN ('f', 'c')
  LOOP
    v_phase := CASE WHEN v_run.phase = 'b' AND coalesce(v_run.undo, zart_has_rollbacks_v1(v_run.run_id))
                    THEN CASE v_run.state WHEN 'failed' THEN 'F' ELSE 'C' END
                    WHEN v_run.state = 'failed' AND v_run.on_failure THEN 'f'
                    WHEN v_run.state = 'cancelled' AND v_run.on_cancel THEN 'c' END;
    CONTINUE WHEN v_phase IS NULL;
    v_handed := v_handed || v_run.run_id;
    UPDATE zart_execution_runs SET state = 'live', outcome = v_run.outcome, handled = true WHERE run_id = v_run.run_id;
    UPDATE zart_tasks
      SET state = 'r', phase = v_phase, worker_id = NULL, claim_id = NULL, due_at = NULL, deadline_at = NULL,
          crash_count = 0, divergences = 0, diverged_by = NULL, cancel_requested_at = NULL, cancel_reason = NULL,
          epoch = epoch + p_taken::integer
      WHERE task_id = v_run.run_id;
  END LOOP;
  RETURN v_handed;
END $$;

-- Whether a body has ever registered a rollback. Reads the run's journal, so only for ends that nobody sees coming.
CREATE FUNCTION zart_has_rollbacks_v1(p_run uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT 1 FROM zart_steps WHERE run_id = p_run AND kind = 'g')
$$;

-- Lock the rows of the tasks that are to hear of the end of `p_tasks`, and return those of `p_tasks` that may end: they
-- have no parent, or it is held now, or it has ended.
-- Locks: the parents' rows FOR UPDATE, SKIP LOCKED: nothing waits here, whatever the caller holds.
CREATE FUNCTION zart_hold_parents_v1(p_tasks uuid[]) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
  v_parents uuid[];
  v_held    uuid[];
BEGIN
  SELECT array_agg(DISTINCT parent_task) INTO v_parents
    FROM zart_tasks WHERE task_id = ANY (p_tasks) AND parent_task IS NOT NULL;
  IF v_parents IS NULL THEN
    RETURN p_tasks;
  END IF;
  SELECT coalesce(array_agg(h.task_id), '{}') INTO v_held
  FROM (SELECT task_id FROM zart_tasks WHERE task_id = ANY (v_parents) ORDER BY task_id FOR UPDATE SKIP LOCKED) h;
  RETURN ARRAY(
    SELECT c.task_id FROM zart_tasks c
    WHERE c.task_id = ANY (p_tasks)
      AND (c.parent_task IS NULL OR c.parent_task = ANY (v_held)
           OR NOT EXISTS (SELECT 1 FROM zart_tasks p WHERE p.task_id = c.parent_task)));
END $$;

-- Record an outcome from outside in a parent's journal, without a turn, and wake the parent if it is parked. Nothing
-- happens if the parent has ended, or the body or handler that asked for it, or if that has recorded something for the
-- call, as when it cancelled it.
-- Locks: the caller holds the parent's task row, if it is still there.
CREATE FUNCTION zart_tell_parent_v1(p_parent uuid, p_ident text, p_seq integer, p_kind "char", p_outcome "char",
                                    p_payload bytea, p_phase "char", p_hash bytea, p_started_at timestamptz)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, args_hash, started_at, payload)
    SELECT t.task_id, p_ident, p_seq, p_kind, p_outcome, p_hash, p_started_at, p_payload
      FROM zart_tasks t WHERE t.task_id = p_parent AND t.phase = p_phase
    ON CONFLICT (run_id, ident) DO NOTHING;
  IF FOUND THEN
    UPDATE zart_tasks SET state = 'r', due_at = NULL WHERE task_id = p_parent AND state = 'w';
  END IF;
END $$;

-- The ends that a flush carries.
CREATE FUNCTION zart_flush_ends_v1(p_worker uuid, p_items jsonb, p_held uuid[]) RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_runs     uuid[];
  v_states   text[];
  v_outcomes bytea[];
  v_undo     boolean[];
  v_concern  text;
  v_ended    uuid[];
BEGIN
  SELECT array_agg(r.t), array_agg(r.s), array_agg(convert_to(r.p, 'UTF8')), array_agg(coalesce(r.u, false))
  INTO v_runs, v_states, v_outcomes, v_undo
  FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, s text, p text, u boolean)
  JOIN zart_tasks t ON t.task_id = r.t AND t.epoch = r.e AND t.worker_id = p_worker AND t.state = 'a'
  WHERE r.t = ANY (p_held);
  IF v_runs IS NOT NULL THEN
    PERFORM zart_unsee_v1(r.t, r.unseen) FROM jsonb_to_recordset(p_items) AS r(t uuid, unseen jsonb)
      WHERE r.t = ANY (v_runs) AND r.unseen IS NOT NULL;
    v_concern := zart_concern_v1(v_runs);
    v_ended := zart_end_runs_v1(v_runs, v_states, v_outcomes, p_worker, false, v_undo);
    IF v_concern IS NOT NULL THEN
      RETURN NEXT zart_say_v1(v_concern, NULL, NULL, NULL);
    END IF;
    IF jsonb_path_exists(p_items, '$[*].orphans') THEN
      UPDATE zart_execution_runs r
        SET orphans = r.orphans || ARRAY(SELECT jsonb_array_elements_text(x.orphans))
        FROM jsonb_to_recordset(p_items) AS x(t uuid, orphans jsonb)
        WHERE r.run_id = x.t AND x.t = ANY (v_ended) AND x.orphans IS NOT NULL;
    END IF;
  END IF;
  RETURN QUERY
  SELECT CASE zart_standing_v1(p_worker, r.t, r.e, p_held)
           WHEN 'over' THEN 'ended' WHEN 'left' THEN 'released' WHEN 'busy' THEN 'busy' WHEN 'own' THEN 'busy'
           ELSE 'lost' END,
         r.t, NULL, NULL::bigint, NULL, NULL, NULL::bytea, NULL::float8
  FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer);
END $$;

-- End a task as cancelled if that was asked for; for whoever holds its row and is to leave it without an owner.
-- A spawned step has its outcome, or its run has ended: only the task goes.
-- Returns whether it may leave the row: `ended`, `busy` (asked for, but the parent's row is held) or `live`.
CREATE FUNCTION zart_end_cancelled_v1(p_task uuid) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_reason bytea;
  v_kind   "char";
BEGIN
  SELECT convert_to(to_json(cancel_reason)::text, 'UTF8'), kind INTO v_reason, v_kind
    FROM zart_tasks WHERE task_id = p_task AND cancel_requested_at IS NOT NULL;
  IF NOT FOUND THEN
    RETURN 'live';
  END IF;
  IF v_kind = 's' THEN
    DELETE FROM zart_tasks WHERE task_id = p_task;
    RETURN 'ended';
  END IF;
  RETURN CASE cardinality(zart_end_runs_v1(ARRAY[p_task], ARRAY['cancelled'], ARRAY[v_reason], NULL, true))
         WHEN 0 THEN 'busy' ELSE 'ended' END;
END $$;

-- Cancel an execution's current run. Without an owner it ends at once; an owner is asked, and ends it when its body
-- has unwound. A repeated request keeps the first time and reason.
-- Locks: the run's task row and its parent's, in one statement, before anything is looked at.
CREATE FUNCTION zart_cancel_v1(p_execution_id text, p_reason text, OUT status text, OUT state text)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_run   uuid;
  v_tried uuid;
  v_state "char";
  v_phase "char";
  v_rows  uuid[];
BEGIN
  PERFORM zart_require_read_committed_v1();
  LOOP
    SELECT x.current_run_id INTO v_run FROM zart_executions x WHERE x.execution_id = p_execution_id;
    IF NOT FOUND THEN
      status := 'unknown';
      RETURN;
    END IF;
    SELECT ARRAY[v_run, t.parent_task] INTO v_rows FROM zart_tasks t WHERE t.task_id = v_run;
    PERFORM 1 FROM zart_tasks t WHERE t.task_id = ANY (v_rows) ORDER BY t.task_id FOR UPDATE;
    SELECT t.state, t.phase INTO v_state, v_phase FROM zart_tasks t WHERE t.task_id = v_run;
    EXIT WHEN FOUND OR v_tried = v_run;
    v_tried := v_run;  -- no task: ended, or followed by another run meanwhile; look once more
  END LOOP;
  status := 'requested';
  state := 'running';
  IF v_phase IN ('F', 'C', 'c') THEN
    RETURN;  -- it has failed or is cancelled already, and what follows is to finish
  ELSIF v_state = 'a' THEN
    UPDATE zart_tasks t
      SET cancel_requested_at = clock_timestamp(), cancel_reason = p_reason
      WHERE t.task_id = v_run AND t.cancel_requested_at IS NULL;
  ELSIF v_state IS NOT NULL THEN
    PERFORM zart_end_runs_v1(ARRAY[v_run], ARRAY['cancelled'], ARRAY[convert_to(to_json(p_reason)::text, 'UTF8')],
                             NULL, true);
    PERFORM 1 FROM zart_tasks t WHERE t.task_id = v_run;
    IF NOT FOUND THEN
      status := 'cancelled';
      SELECT r.state INTO state FROM zart_execution_runs r WHERE r.run_id = v_run;
    END IF;
  ELSE
    SELECT r.state INTO state FROM zart_execution_runs r WHERE r.run_id = v_run;
    status := CASE state WHEN 'cancelled' THEN 'noop' ELSE 'terminal' END;
  END IF;
END $$;
