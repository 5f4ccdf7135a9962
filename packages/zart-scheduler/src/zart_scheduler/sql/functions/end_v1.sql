-- End runs: the task and its waits go, the run row says how. Events consumed by outcomes that never got a turn return
-- to the mailbox at their place, and those records with them: no body has seen them, and the next run may meet the
-- event. `p_taken` = by another than the owner: the final epoch is one higher, so that the owner cannot take this end
-- for its own.
-- Locks: the caller holds the task rows.
CREATE FUNCTION zart_end_runs_v1(p_runs uuid[], p_states text[], p_outcomes bytea[], p_worker uuid, p_taken boolean)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  WITH undelivered AS (
    DELETE FROM zart_steps s WHERE s.run_id = ANY (p_runs) AND s.turn IS NULL AND s.kind = 'w'
    RETURNING s.run_id, s.ident
  )
  UPDATE zart_events e SET consumed_run = NULL, consumed_ident = NULL
    FROM undelivered u WHERE e.consumed_run = u.run_id AND e.consumed_ident = u.ident;
  DELETE FROM zart_waits WHERE run_id = ANY (p_runs);
  WITH gone AS (
    DELETE FROM zart_tasks WHERE task_id = ANY (p_runs) RETURNING task_id, epoch
  )
  UPDATE zart_execution_runs r
    SET state = x.state, outcome = x.outcome, finished_at = clock_timestamp(), worker_id = p_worker,
        final_epoch = gone.epoch + p_taken::integer
    FROM unnest(p_runs, p_states, p_outcomes) AS x(run_id, state, outcome) JOIN gone ON gone.task_id = x.run_id
    WHERE r.run_id = x.run_id;
END $$;

-- The ends that a flush carries.
CREATE FUNCTION zart_flush_ends_v1(p_worker uuid, p_items jsonb, p_held uuid[]) RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_runs     uuid[];
  v_states   text[];
  v_outcomes bytea[];
BEGIN
  SELECT array_agg(r.t), array_agg(r.s), array_agg(convert_to(r.p, 'UTF8')) INTO v_runs, v_states, v_outcomes
  FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, s text, p text)
  JOIN zart_tasks t ON t.task_id = r.t AND t.epoch = r.e AND t.worker_id = p_worker AND t.state = 'a'
  WHERE r.t = ANY (p_held);
  IF v_runs IS NOT NULL THEN
    PERFORM zart_end_runs_v1(v_runs, v_states, v_outcomes, p_worker, false);
  END IF;
  RETURN QUERY
  SELECT CASE zart_standing_v1(p_worker, r.t, r.e, p_held) WHEN 'over' THEN 'ended' WHEN 'busy' THEN 'busy' ELSE 'lost' END,
         r.t, NULL, NULL::bigint, NULL, NULL, NULL::bytea, NULL::float8
  FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer);
END $$;

-- End a run as cancelled if that was asked for; for whoever holds its task row and leaves it without an owner.
CREATE FUNCTION zart_end_cancelled_v1(p_run uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
  v_reason bytea;
BEGIN
  SELECT convert_to(to_json(cancel_reason)::text, 'UTF8') INTO v_reason
    FROM zart_tasks WHERE task_id = p_run AND cancel_requested_at IS NOT NULL;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM zart_end_runs_v1(ARRAY[p_run], ARRAY['cancelled'], ARRAY[v_reason], NULL, true);
  RETURN true;
END $$;

-- Cancel an execution's current run. Without an owner it ends at once; an owner is asked, and ends it when its body
-- has unwound. A repeated request keeps the first time and reason.
-- Locks: the run's task row, before anything is looked at.
CREATE FUNCTION zart_cancel_v1(p_execution_id text, p_reason text, OUT status text, OUT state text)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_run   uuid;
  v_tried uuid;
  v_state "char";
BEGIN
  PERFORM zart_require_read_committed_v1();
  LOOP
    SELECT x.current_run_id INTO v_run FROM zart_executions x WHERE x.execution_id = p_execution_id;
    IF NOT FOUND THEN
      status := 'unknown';
      RETURN;
    END IF;
    SELECT t.state INTO v_state FROM zart_tasks t WHERE t.task_id = v_run FOR UPDATE;
    EXIT WHEN FOUND OR v_tried = v_run;
    v_tried := v_run;  -- no task: ended, or followed by another run meanwhile; look once more
  END LOOP;
  IF v_state = 'a' THEN
    UPDATE zart_tasks t
      SET cancel_requested_at = clock_timestamp(), cancel_reason = p_reason
      WHERE t.task_id = v_run AND t.cancel_requested_at IS NULL;
    status := 'requested';
    state := 'running';
  ELSIF v_state IS NOT NULL THEN
    PERFORM zart_end_runs_v1(ARRAY[v_run], ARRAY['cancelled'], ARRAY[convert_to(to_json(p_reason)::text, 'UTF8')],
                             NULL, true);
    status := 'cancelled';
    state := 'cancelled';
  ELSE
    SELECT r.state INTO state FROM zart_execution_runs r WHERE r.run_id = v_run;
    status := CASE state WHEN 'cancelled' THEN 'noop' ELSE 'terminal' END;
  END IF;
END $$;
