-- The name of the call that an identity stands for: between the scope's `:` and the `#`, its escapes undone.
CREATE FUNCTION zart_call_name_v1(p_ident text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT replace(replace(split_part(substr(p_ident, strpos(p_ident, ':') + 1), '#', 1), '%23', '#'), '%25', '%')
$$;

-- What the body of a run has recorded, not its handlers.
CREATE FUNCTION zart_body_records_v1(p_run uuid) RETURNS SETOF zart_steps
LANGUAGE sql STABLE AS $$
  SELECT * FROM zart_steps WHERE run_id = p_run AND NOT starts_with(ident, '!')
$$;

-- The records of a body that have a turn, in the run's order, and which of them a rerun keeps.
-- p_steps, p_keep: regular expressions of names. Neither: what came before the first failed one is kept; if none has
-- failed and the run has (`p_failed`), what came before the wait that timed out last.
-- Failed ones are never kept. A cancelled one is kept only before everything that runs again: what cancelled it may not
-- happen this time, and then nothing would ever come for it.
CREATE FUNCTION zart_choose_records_v1(p_run uuid, p_steps text[], p_keep text[], p_failed boolean)
RETURNS TABLE (ident text, name text, place bigint, kept boolean)
LANGUAGE sql STABLE AS $$
  WITH journal AS (
    SELECT s.ident, zart_call_name_v1(s.ident) AS name, s.outcome,
           row_number() OVER (ORDER BY s.turn, s.ident) AS place,
           s.outcome IN ('e', 'x') OR (s.outcome = 't' AND s.kind <> 'w') AS failed
    FROM zart_body_records_v1(p_run) s WHERE s.turn IS NOT NULL
  ), cut AS (
    SELECT coalesce(min(j.place) FILTER (WHERE j.failed),
                    max(j.place) FILTER (WHERE j.outcome = 't' AND p_failed)) AS place FROM journal j
  ), wanted AS (
    SELECT j.*,
           NOT j.failed
           AND CASE WHEN p_steps IS NULL AND p_keep IS NULL THEN cut.place IS NULL OR j.place < cut.place
                    ELSE coalesce(j.name ~ ANY (p_keep), false) OR coalesce(j.name !~ ALL (p_steps), false) END AS kept
    FROM journal j CROSS JOIN cut
  )
  SELECT w.ident, w.name, w.place,
         w.kept AND (w.outcome <> 'c'
                     OR w.place < (SELECT coalesce(min(a.place), w.place + 1) FROM wanted a WHERE NOT a.kept))
  FROM wanted w
$$;

-- Copy records into an empty journal, renumbered from 0 in order, with epoch 0, and what belongs to them: their attempts,
-- what they have published, unless it was published anew since, and that a person has vouched for a call.
CREATE FUNCTION zart_copy_records_v1(p_from uuid, p_to uuid, p_idents text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, turn, wake_at, args_hash, attempt, started_at,
                          completed_at, worker_id, payload)
  SELECT p_to, s.ident, s.seq, s.kind, s.outcome, row_number() OVER (ORDER BY s.turn, s.ident) - 1, s.wake_at,
         s.args_hash, s.attempt, s.started_at, s.completed_at, s.worker_id, s.payload
  FROM unnest(p_idents) AS k(ident) JOIN zart_steps s ON s.run_id = p_from AND s.ident = k.ident;
  INSERT INTO zart_step_attempts (run_id, ident, attempt, kind, started_at, ended_at, next_at, deadline_at, worker_id,
                                  error, heartbeat, is_last)
  SELECT p_to, a.ident, a.attempt, a.kind, a.started_at, a.ended_at, a.next_at, a.deadline_at, a.worker_id, a.error,
         a.heartbeat, a.is_last
  FROM unnest(p_idents) AS k(ident) JOIN zart_step_attempts a ON a.run_id = p_from AND a.ident = k.ident;
  INSERT INTO zart_state (run_id, key, turn, value, updated_at)
  SELECT p_to, x.key, n.turn, x.value, x.updated_at
  FROM unnest(p_idents) AS k(ident)
  JOIN zart_steps s ON s.run_id = p_from AND s.ident = k.ident AND s.kind = 'v'
  JOIN zart_steps n ON n.run_id = p_to AND n.ident = k.ident
  JOIN zart_state x ON x.run_id = p_from AND x.turn = s.turn AND x.key = zart_call_name_v1(s.ident);
  UPDATE zart_execution_runs n SET accepted = o.accepted
    FROM zart_execution_runs o WHERE n.run_id = p_to AND o.run_id = p_from AND o.accepted <> '{}';
END $$;

-- A new run that keeps some of the records of the current one, which it replaces; see zart_choose_records_v1.
-- `names`: kept ones that came after one that runs again. With status `no_step`, which no record matches: those there are.
CREATE FUNCTION zart_rerun_v1(p_execution_id text, p_run_id uuid, p_steps text[], p_keep text[], p_request text,
                              p_actor text, p_asked jsonb, OUT status text, OUT run_id uuid, OUT names text[])
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_old    uuid;
  v_done   jsonb;
  v_idents text[];
  v_failed boolean;
BEGIN
  SELECT s.status, s.run_id INTO status, v_old FROM zart_seize_v1(p_execution_id, true) s;
  IF status = 'unknown' THEN
    RETURN;
  END IF;
  SELECT f.status, f.done INTO status, v_done FROM zart_find_request_v1(p_execution_id, 'rerun', p_request, p_asked) f;
  IF status IS NOT NULL THEN
    run_id := (v_done ->> 'run_id')::uuid;
    names := ARRAY(SELECT jsonb_array_elements_text(v_done -> 'names'));
    RETURN;
  END IF;
  names := zart_recorded_names_v1(v_old);
  IF EXISTS (SELECT 1 FROM unnest(p_steps || p_keep) AS p(pattern)
             WHERE NOT EXISTS (SELECT 1 FROM unnest(names) AS n(name) WHERE n.name ~ p.pattern)) THEN
    status := 'no_step';
    RETURN;
  END IF;
  SELECT r.state = 'failed' INTO v_failed FROM zart_execution_runs r WHERE r.run_id = v_old;
  SELECT coalesce(array_agg(c.ident) FILTER (WHERE c.kept), '{}'),
         coalesce(array_agg(DISTINCT c.name) FILTER (WHERE c.kept AND c.place > c.first), '{}')
    INTO v_idents, names
    FROM (SELECT f.*, min(f.place) FILTER (WHERE NOT f.kept) OVER () AS first
          FROM zart_choose_records_v1(v_old, p_steps, p_keep, v_failed) f) c;
  PERFORM zart_replace_run_v1(v_old, p_run_id, 'cancelled', zart_replaced_by_v1(v_old, 'rerun', p_asked ->> 'reason'),
                              NULL, NULL, NULL, NULL, NULL, NULL);
  PERFORM zart_copy_records_v1(v_old, p_run_id, v_idents);
  UPDATE zart_events SET consumed_run = p_run_id
    WHERE consumed_run = v_old AND consumed_ident = ANY (v_idents);
  UPDATE zart_event_uses SET consumed_run = p_run_id
    WHERE consumed_run = v_old AND consumed_ident = ANY (v_idents);
  PERFORM zart_note_request_v1(p_execution_id, 'rerun', p_request, p_actor, p_asked,
                               jsonb_build_object('run_id', p_run_id, 'names', names));
  status := 'done';
  run_id := p_run_id;
END $$;

-- The names of all calls that the body of a run has begun.
CREATE FUNCTION zart_recorded_names_v1(p_run uuid) RETURNS text[]
LANGUAGE sql STABLE AS $$
  SELECT ARRAY(
    SELECT zart_call_name_v1(c.ident) FROM (
      SELECT ident FROM zart_steps WHERE run_id = p_run UNION ALL
      SELECT ident FROM zart_step_attempts WHERE run_id = p_run UNION ALL
      SELECT ident FROM zart_waits WHERE run_id = p_run) c
    WHERE NOT starts_with(c.ident, '!')
    GROUP BY 1 ORDER BY 1)
$$;

-- A new execution with the records of a run up to the first of the call `p_step`, which is not among them. A call that
-- has begun and has no outcome stands at the end of the journal.
-- Locks: the source's execution row, for the request's sake only; its run goes on as it is. A turn once given stays, so
-- that the copy is of one moment.
CREATE FUNCTION zart_fork_v1(p_execution_id text, p_from_run uuid, p_new_id text, p_run_id uuid, p_step text,
                             p_input_hash bytea, p_input bytea, p_request text, p_actor text, p_asked jsonb,
                             OUT status text, OUT execution_id text, OUT names text[])
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_done   jsonb;
  v_idents text[];
BEGIN
  PERFORM zart_require_read_committed_v1();
  PERFORM 1 FROM zart_executions x WHERE x.execution_id = p_execution_id FOR UPDATE;
  IF NOT FOUND THEN
    status := 'unknown';
    RETURN;
  END IF;
  SELECT f.status, f.done INTO status, v_done FROM zart_find_request_v1(p_execution_id, 'fork', p_request, p_asked) f;
  IF status IS NOT NULL THEN
    execution_id := v_done ->> 'execution_id';
    RETURN;
  END IF;
  names := zart_recorded_names_v1(p_from_run);
  IF p_step <> ALL (names) THEN
    status := 'no_step';
    RETURN;
  END IF;
  INSERT INTO zart_executions AS x (execution_id, workflow, input_hash, current_run_id, tags)
    SELECT p_new_id, o.workflow, p_input_hash, p_run_id, o.tags
    FROM zart_executions o WHERE o.execution_id = p_execution_id
    ON CONFLICT ON CONSTRAINT zart_executions_pkey DO NOTHING;
  IF NOT FOUND THEN
    status := 'exists';
    RETURN;
  END IF;
  PERFORM zart_add_run_v1(p_new_id, p_run_id, r.workflow, r.version, r.queue, r.priority, p_input, NULL)
    FROM zart_execution_runs r WHERE r.run_id = p_from_run;
  SELECT array_agg(c.ident) INTO v_idents
    FROM (SELECT s.ident, min(CASE WHEN zart_call_name_v1(s.ident) = p_step THEN 1 END)
                            OVER (ORDER BY s.turn, s.ident) AS reached
          FROM zart_body_records_v1(p_from_run) s WHERE s.turn IS NOT NULL) c
    WHERE c.reached IS NULL;
  PERFORM zart_copy_records_v1(p_from_run, p_run_id, v_idents);
  PERFORM zart_note_request_v1(p_execution_id, 'fork', p_request, p_actor, p_asked,
                               jsonb_build_object('execution_id', p_new_id, 'run_id', p_run_id));
  status := 'done';
  execution_id := p_new_id;
END $$;
