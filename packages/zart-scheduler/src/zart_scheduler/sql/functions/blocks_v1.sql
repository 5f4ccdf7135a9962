-- Runs that cannot go on with the code of their worker (L10). Other workers may have other code: the first two tries
-- hand the run back, the third stops it until a person looks. With `now` there is one try only.
CREATE FUNCTION zart_flush_blocks_v1(p_worker uuid, p_items jsonb, p_held uuid[]) RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
DECLARE
  v_item     record;
  v_standing text;
  v_tries    integer;
BEGIN
  FOR v_item IN SELECT * FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, p text, now boolean, unseen jsonb)
  LOOP
    v_standing := zart_standing_v1(p_worker, v_item.t, v_item.e, p_held);
    IF v_standing = 'own' THEN
      PERFORM zart_unsee_v1(v_item.t, v_item.unseen);
      v_standing := zart_end_cancelled_v1(v_item.t);
    END IF;
    IF v_standing = 'live' THEN
      v_tries := zart_divergences_v1(v_item.t) + 1;
      IF v_item.now OR v_tries >= 3 THEN
        UPDATE zart_tasks SET state = 'b', worker_id = NULL, claim_id = NULL, due_at = NULL WHERE task_id = v_item.t;
        UPDATE zart_execution_runs
          SET state = 'blocked', divergence = zart_with_evidence_v1(v_item.t, v_item.p::jsonb)
          WHERE run_id = v_item.t;
      ELSE
        UPDATE zart_tasks
          SET state = 'w', worker_id = NULL, claim_id = NULL, divergences = v_tries, diverged_epoch = epoch,
              diverged_by = p_worker, due_at = clock_timestamp() + v_tries * interval '0.5 second'
          WHERE task_id = v_item.t;
      END IF;
    END IF;
    RETURN NEXT zart_say_v1(CASE WHEN v_standing = 'busy' THEN 'busy'
                                 WHEN v_standing NOT IN ('live', 'ended', 'left') THEN 'lost'
                                 WHEN EXISTS (SELECT 1 FROM zart_tasks WHERE task_id = v_item.t AND state <> 'b')
                                 THEN 'released' ELSE 'blocked' END, v_item.t, NULL, NULL);
  END LOOP;
END $$;

-- How many workers in a row could not go on with a run. An outcome that was recorded between two of them sets it back;
-- those of the very claim that diverges do not count, or a body that is never twice the same would be tried for ever.
-- Planner: from the second in a row on it reads the run's journal, since no index goes by turn.
CREATE FUNCTION zart_divergences_v1(p_run uuid) RETURNS integer
LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN t.divergences = 0 THEN 0
              WHEN EXISTS (SELECT 1 FROM zart_steps s
                           WHERE s.run_id = p_run AND s.turn >= (t.diverged_epoch + 1)::bigint << 32
                             AND s.turn <= t.epoch::bigint << 32) THEN 0 ELSE t.divergences END
  FROM zart_tasks t WHERE t.task_id = p_run
$$;

-- Add to a divergence when its record was made, and by whom.
CREATE FUNCTION zart_with_evidence_v1(p_run uuid, p_details jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
  SELECT coalesce((SELECT jsonb_set(p_details, '{recorded}', p_details -> 'recorded' || jsonb_build_object(
                            'completed_at', s.completed_at, 'worker', coalesce(i.name, s.worker_id::text)))
                   FROM zart_steps s LEFT JOIN zart_worker_info i ON i.worker_id = s.worker_id
                   WHERE s.run_id = p_run AND s.ident = p_details #>> '{recorded,identity}'), p_details)
$$;

-- Let a blocked run try again, after what a person has decided: `p_accept` = the call of today's code that it is
-- blocked at, `p_reset` = a record that is forgotten, neither = nothing has changed but the code.
-- `p_run` is the run that the person has looked at; `changed` = it is not what it was then, so look again.
-- The task row and with it the epoch stay: later turns sort behind all earlier ones.
-- Locks: the run's task row, before anything is looked at.
CREATE FUNCTION zart_unblock_v1(p_execution_id text, p_run uuid, p_accept text, p_reset text, p_actor text,
                                p_reason text, OUT status text, OUT state text)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_details jsonb;
BEGIN
  PERFORM zart_require_read_committed_v1();
  PERFORM 1 FROM zart_tasks WHERE task_id = p_run FOR UPDATE;
  PERFORM 1 FROM zart_executions WHERE execution_id = p_execution_id AND current_run_id = p_run;
  IF NOT FOUND THEN
    status := 'changed';
    RETURN;
  END IF;
  SELECT s.state, r.divergence INTO state, v_details
    FROM zart_run_states s JOIN zart_execution_runs r ON r.run_id = s.run_id WHERE s.run_id = p_run;
  IF state <> 'blocked' THEN
    status := 'refused';
    RETURN;
  END IF;
  IF p_accept <> coalesce(v_details #>> '{current,identity}', '')
     OR (p_reset IS NOT NULL AND NOT zart_forget_record_v1(p_run, p_reset)) THEN
    status := 'changed';
    RETURN;
  END IF;
  IF p_accept IS NOT NULL AND v_details ->> 'code' = 'ZART-D001' THEN
    PERFORM zart_forget_record_v1(p_run, p_accept);  -- a record of another kind cannot be taken
  END IF;
  UPDATE zart_execution_runs
    SET state = 'live', divergence = NULL,
        accepted = CASE WHEN p_accept = ANY (accepted) OR p_accept IS NULL THEN accepted ELSE accepted || p_accept END
    WHERE run_id = p_run;
  UPDATE zart_tasks SET state = 'r', due_at = NULL, divergences = 0, diverged_by = NULL, crash_count = 0
    WHERE task_id = p_run;
  INSERT INTO zart_audit (actor, action, execution_id, detail)
    VALUES (p_actor, 'unblock', p_execution_id, jsonb_strip_nulls(jsonb_build_object(
      'run_id', p_run, 'accept', p_accept, 'reset', p_reset, 'reason', p_reason, 'divergence', v_details)));
  status := 'unblocked';
  SELECT s.state INTO state FROM zart_run_states s WHERE s.run_id = p_run;
END $$;

-- Remove one record, so that its call runs again; false if there is none. Its event returns to its place in the
-- mailbox, and goes at once to the oldest open wait of its name.
-- Locks: the caller holds the run's task row.
CREATE FUNCTION zart_forget_record_v1(p_run uuid, p_ident text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM zart_steps WHERE run_id = p_run AND ident = p_ident;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM zart_step_attempts WHERE run_id = p_run AND ident = p_ident;
  PERFORM zart_give_back_v1(p_run, p_ident);
  RETURN true;
END $$;
