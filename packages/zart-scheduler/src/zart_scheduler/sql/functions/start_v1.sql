-- Start an execution, once per id; may run in the caller's own transaction.
-- A second start of the same id waits for the first to commit or roll back, and raises nothing: ON CONFLICT DO NOTHING,
-- then a look in the next statement, which sees the winner.
-- p_restart: an execution of the same workflow that is there gets a new run from scratch, with this input; p_owned: also
-- if a worker executes its current run, which no start inside a user's transaction may take away.
-- Locks: this execution's rows only; those of a seizure (zart_seize_v1) if it is restarted.
CREATE FUNCTION zart_start_v1(p_execution_id text, p_run_id uuid, p_workflow text, p_version text, p_queue text,
                              p_priority integer, p_input_hash bytea, p_input bytea, p_tags jsonb, p_delay float8,
                              p_at timestamptz, p_restart boolean DEFAULT false, p_owned boolean DEFAULT true,
                              p_actor text DEFAULT session_user, OUT status text, OUT run_id uuid, OUT workflow text)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_due timestamptz := coalesce(p_at, clock_timestamp() + p_delay * interval '1 second');
BEGIN
  IF v_due <= clock_timestamp() THEN
    v_due := NULL;
  END IF;
  LOOP
    INSERT INTO zart_executions AS x (execution_id, workflow, input_hash, current_run_id, tags)
      VALUES (p_execution_id, p_workflow, p_input_hash, p_run_id, coalesce(p_tags, '{}'))
      ON CONFLICT (execution_id) DO NOTHING;
    EXIT WHEN FOUND;
    SELECT CASE WHEN x.workflow = p_workflow AND x.input_hash = p_input_hash THEN 'existing' ELSE 'conflict' END,
           x.current_run_id, x.workflow
      INTO status, run_id, workflow
      FROM zart_executions x WHERE x.execution_id = p_execution_id;
    IF FOUND THEN
      SELECT s.status, s.run_id INTO status, run_id
        FROM zart_start_again_v1(p_execution_id, p_run_id, status, run_id, p_restart AND workflow = p_workflow,
                                 p_version, p_queue, p_priority, p_input_hash, p_input, p_tags, v_due, p_owned,
                                 p_actor) s;
      RETURN;
    END IF;
  END LOOP;
  PERFORM zart_add_run_v1(p_execution_id, p_run_id, p_workflow, p_version, p_queue, p_priority, p_input, v_due);
  status := 'created';
  run_id := p_run_id;
  workflow := p_workflow;
END $$;

-- A new run and its task: ready, or due later. p_parent to p_phase name the call that started it, if its outcome is to
-- go there.
CREATE FUNCTION zart_add_run_v1(p_execution_id text, p_run_id uuid, p_workflow text, p_version text, p_queue text,
                                p_priority integer, p_input bytea, p_due timestamptz, p_parent uuid DEFAULT NULL,
                                p_ident text DEFAULT NULL, p_seq integer DEFAULT NULL, p_hash bytea DEFAULT NULL,
                                p_phase "char" DEFAULT NULL, p_index integer DEFAULT 0)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO zart_execution_runs (run_id, execution_id, run_index, workflow, version, queue, priority, input)
    VALUES (p_run_id, p_execution_id, p_index, p_workflow, nullif(p_version, ''), p_queue, p_priority, p_input);
  INSERT INTO zart_tasks (task_id, run_id, execution_id, queue, workflow, version, priority, state, due_at,
                          parent_task, parent_ident, parent_seq, parent_hash, parent_phase)
    VALUES (p_run_id, p_run_id, p_execution_id, p_queue, p_workflow, coalesce(p_version, ''), p_priority,
            CASE WHEN p_due IS NULL THEN 'r' ELSE 'w' END, p_due, p_parent, p_ident, p_seq, p_hash,
            p_phase);
END $$;

-- A start of an execution that is there. It may be this very start, sent again.
CREATE FUNCTION zart_start_again_v1(p_execution_id text, p_run_id uuid, p_status text, p_current uuid, p_restart boolean,
                                    p_version text, p_queue text, p_priority integer, p_input_hash bytea, p_input bytea,
                                    p_tags jsonb, p_due timestamptz, p_owned boolean, p_actor text,
                                    OUT status text, OUT run_id uuid)
LANGUAGE plpgsql AS $$
DECLARE
  v_run uuid;
BEGIN
  status := p_status;
  run_id := p_current;
  IF p_restart THEN
    SELECT s.status, s.run_id INTO status, v_run FROM zart_seize_v1(p_execution_id, p_owned) s;
  END IF;
  IF EXISTS (SELECT 1 FROM zart_execution_runs r WHERE r.run_id = p_run_id) THEN
    SELECT CASE r.run_index WHEN 0 THEN 'created' ELSE 'restarted' END INTO status
      FROM zart_execution_runs r WHERE r.run_id = p_run_id;
    run_id := p_run_id;
  ELSIF status = 'held' THEN
    PERFORM zart_replace_run_v1(v_run, p_run_id, 'cancelled', zart_replaced_by_v1(v_run, 'restart', NULL), NULL,
                                coalesce(p_version, ''), p_queue, p_priority, p_input, p_due);
    UPDATE zart_executions SET input_hash = p_input_hash, tags = coalesce(p_tags, '{}')
      WHERE execution_id = p_execution_id;
    PERFORM zart_note_request_v1(p_execution_id, 'restart', p_run_id::text, p_actor, '{}',
                                 jsonb_build_object('run_id', p_run_id));
    status := 'restarted';
    run_id := p_run_id;
  END IF;
END $$;
