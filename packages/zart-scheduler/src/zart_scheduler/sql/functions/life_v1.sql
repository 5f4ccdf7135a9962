-- Lock an execution for somebody who replaces its current run, and say which that is.
-- Locks, in this order: the row of the worker that owns the run FOR UPDATE, so that no flush of it is in flight and the
-- next one is refused (L4); the execution's row; the run's task row. Who owns the run is known only under the last
-- lock: found otherwise than expected, all are given back, and it begins again. Without an owner the two rows are waited
-- for: a user's transaction may hold them for long. While a worker's row is held nothing is waited for, since all the
-- worker's runs would wait with it.
-- `p_owned` false: leave a run alone that a worker executes; status `owned`. For callers whose transaction is a user's.
CREATE FUNCTION zart_seize_v1(p_execution_id text, p_owned boolean, OUT status text, OUT run_id uuid)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_expected uuid;
  v_owner    uuid;
BEGIN
  PERFORM zart_require_read_committed_v1();
  LOOP
    BEGIN
      IF v_expected IS NOT NULL THEN
        PERFORM 1 FROM zart_workers WHERE worker_id = v_expected FOR UPDATE;
        PERFORM 1 FROM zart_executions WHERE execution_id = p_execution_id FOR UPDATE NOWAIT;
      ELSE
        PERFORM 1 FROM zart_executions WHERE execution_id = p_execution_id FOR UPDATE;
      END IF;
      SELECT x.current_run_id INTO run_id FROM zart_executions x WHERE x.execution_id = p_execution_id;
      IF run_id IS NULL THEN
        status := 'unknown';
        RETURN;
      END IF;
      IF v_expected IS NOT NULL THEN
        PERFORM 1 FROM zart_tasks t WHERE t.task_id = zart_seize_v1.run_id FOR UPDATE NOWAIT;
      ELSE
        PERFORM 1 FROM zart_tasks t WHERE t.task_id = zart_seize_v1.run_id FOR UPDATE;
      END IF;
      SELECT t.worker_id INTO v_owner FROM zart_tasks t WHERE t.task_id = zart_seize_v1.run_id;
      IF v_owner IS NULL OR v_owner = v_expected THEN
        status := 'held';
        RETURN;
      END IF;
      RAISE EXCEPTION USING ERRCODE = 'ZA001', MESSAGE = 'the locks are given back';
    EXCEPTION
      WHEN SQLSTATE 'ZA001' THEN
        v_expected := v_owner;
      WHEN lock_not_available THEN
        v_expected := NULL;
    END;
    IF v_expected IS NOT NULL AND NOT p_owned THEN
      status := 'owned';
      RETURN;
    END IF;
  END LOOP;
END $$;

-- End an execution's current run, if it has not ended, and make the next. What belongs to the execution goes on:
-- unconsumed events, and the parent that waits for its end, which does not hear of the end of this run. Neither
-- rollbacks nor a handler follow; what has begun of them goes with its run.
-- p_version, p_queue, p_priority, p_input: NULL = those of the run before. p_due: not before that moment.
-- Locks: the caller holds the rows of the execution and of the task; if the run is taken, of its owner as well.
CREATE FUNCTION zart_replace_run_v1(p_old uuid, p_new uuid, p_state text, p_outcome bytea, p_worker uuid,
                                    p_version text, p_queue text, p_priority integer, p_input bytea, p_due timestamptz)
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_old  zart_execution_runs;
  v_task zart_tasks;
BEGIN
  SELECT * INTO STRICT v_old FROM zart_execution_runs WHERE run_id = p_old;
  SELECT * INTO v_task FROM zart_tasks WHERE task_id = p_old;
  IF FOUND THEN
    UPDATE zart_tasks t
      SET parent_task = NULL, parent_ident = NULL, parent_seq = NULL, parent_hash = NULL, parent_phase = NULL,
          phase = CASE WHEN t.phase IN ('F', 'f') THEN 'f' ELSE 'c' END  -- neither rollbacks nor a handler follow
      WHERE t.task_id = p_old;
    PERFORM zart_end_runs_v1(ARRAY[p_old], ARRAY[p_state], ARRAY[p_outcome], p_worker, p_worker IS NULL);
  END IF;
  PERFORM zart_add_run_v1(v_old.execution_id, p_new, v_old.workflow, coalesce(p_version, v_old.version),
                          coalesce(p_queue, v_old.queue), coalesce(p_priority, v_old.priority),
                          coalesce(p_input, v_old.input), p_due, v_task.parent_task, v_task.parent_ident,
                          v_task.parent_seq, v_task.parent_hash, v_task.parent_phase, v_old.run_index + 1);
  UPDATE zart_executions SET current_run_id = p_new WHERE execution_id = v_old.execution_id;
END $$;

-- What a run that a person replaces is ended with: a text that names the run that follows.
CREATE FUNCTION zart_replaced_by_v1(p_run uuid, p_action text, p_reason text) RETURNS bytea
LANGUAGE sql STABLE AS $$
  SELECT convert_to(to_json('replaced by run ' || run_index + 1 || ' (' || p_action || ')'
                            || coalesce(': ' || p_reason, ''))::text, 'UTF8')
  FROM zart_execution_runs WHERE run_id = p_run
$$;

-- Whether this very request was carried out before: then what became of it is in the audit. `p_asked` is all that it
-- asks for; the same request with something else is a `mismatch`.
-- Locks: the caller holds the execution's row, so that no other session is about to carry it out.
CREATE FUNCTION zart_find_request_v1(p_execution_id text, p_action text, p_request text, p_asked jsonb,
                                     OUT status text, OUT done jsonb)
LANGUAGE plpgsql AS $$
DECLARE
  v_action text;
  v_asked  jsonb;
BEGIN
  SELECT a.action, a.detail -> 'asked', a.detail -> 'done' INTO v_action, v_asked, done
    FROM zart_audit a WHERE a.execution_id = p_execution_id AND a.detail ->> 'request' = p_request;
  IF FOUND THEN
    status := CASE WHEN v_action = p_action AND v_asked = p_asked THEN 'replayed' ELSE 'mismatch' END;
  END IF;
END $$;

CREATE FUNCTION zart_note_request_v1(p_execution_id text, p_action text, p_request text, p_actor text, p_asked jsonb,
                                     p_done jsonb)
RETURNS void
LANGUAGE sql AS $$
  INSERT INTO zart_audit (actor, action, execution_id, detail)
  VALUES (p_actor, p_action, p_execution_id,
          jsonb_build_object('request', p_request, 'asked', p_asked, 'done', p_done))
$$;

-- A new run from scratch, in place of whatever the execution does. `p_workflow`: NULL, or what it must be a run of.
CREATE FUNCTION zart_restart_v1(p_execution_id text, p_run_id uuid, p_workflow text, p_version text, p_input bytea,
                                p_request text, p_actor text, p_asked jsonb, OUT status text, OUT run_id uuid,
                                OUT workflow text)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_old  uuid;
  v_done jsonb;
BEGIN
  SELECT s.status, s.run_id INTO status, v_old FROM zart_seize_v1(p_execution_id, true) s;
  IF status = 'unknown' THEN
    RETURN;
  END IF;
  SELECT x.workflow INTO workflow FROM zart_executions x WHERE x.execution_id = p_execution_id;
  SELECT f.status, f.done INTO status, v_done FROM zart_find_request_v1(p_execution_id, 'restart', p_request, p_asked) f;
  IF status IS NOT NULL THEN
    run_id := (v_done ->> 'run_id')::uuid;
  ELSIF p_workflow <> workflow THEN
    status := 'conflict';
  ELSE
    PERFORM zart_replace_run_v1(v_old, p_run_id, 'cancelled', zart_replaced_by_v1(v_old, 'restart', p_asked ->> 'reason'),
                                NULL, p_version, NULL, NULL, p_input, NULL);
    PERFORM zart_note_request_v1(p_execution_id, 'restart', p_request, p_actor, p_asked, jsonb_build_object('run_id', p_run_id));
    status := 'done';
    run_id := p_run_id;
  END IF;
END $$;
