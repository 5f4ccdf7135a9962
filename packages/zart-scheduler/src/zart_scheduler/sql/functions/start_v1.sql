-- Start an execution, once per id; may run in the caller's own transaction.
-- A second start of the same id waits for the first to commit or roll back, and raises nothing: ON CONFLICT DO NOTHING,
-- then a look in the next statement, which sees the winner.
-- Locks: this execution's new rows only.
CREATE FUNCTION zart_start_v1(p_execution_id text, p_run_id uuid, p_workflow text, p_version text, p_queue text,
                              p_priority integer, p_input_hash bytea, p_input bytea, p_tags jsonb, p_delay float8,
                              p_at timestamptz, OUT status text, OUT run_id uuid, OUT workflow text)
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
      RETURN;
    END IF;
  END LOOP;
  PERFORM zart_add_run_v1(p_execution_id, p_run_id, p_workflow, p_version, p_queue, p_priority, p_input, v_due);
  status := 'created';
  run_id := p_run_id;
  workflow := p_workflow;
END $$;

-- A new run and its task: ready, or due later. The last five name the call that started it, if its outcome is to go
-- there.
CREATE FUNCTION zart_add_run_v1(p_execution_id text, p_run_id uuid, p_workflow text, p_version text, p_queue text,
                                p_priority integer, p_input bytea, p_due timestamptz, p_parent uuid DEFAULT NULL,
                                p_ident text DEFAULT NULL, p_seq integer DEFAULT NULL, p_hash bytea DEFAULT NULL,
                                p_phase "char" DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO zart_execution_runs (run_id, execution_id, workflow, version, queue, priority, input)
    VALUES (p_run_id, p_execution_id, p_workflow, nullif(p_version, ''), p_queue, p_priority, p_input);
  INSERT INTO zart_tasks (task_id, run_id, execution_id, queue, workflow, version, priority, state, due_at,
                          parent_task, parent_ident, parent_seq, parent_hash, parent_phase)
    VALUES (p_run_id, p_run_id, p_execution_id, p_queue, p_workflow, coalesce(p_version, ''), p_priority,
            CASE WHEN p_due IS NULL THEN 'r' ELSE 'w' END, p_due, p_parent, p_ident, p_seq, p_hash,
            p_phase);
END $$;
