-- Record the outcome of a step in the step's own transaction, as its last statement; the client sends COMMIT with it, in
-- one message, so that nobody's code runs between the fence and the commit. `p_steps` is that of a flush, of one record.
-- A spawned step has `p_finishes` in their place, as a flush has it.
-- p_xact is the transaction that was begun for the step: one that its code has ended itself is another.
-- Locks: what the step has locked, then the worker's row (KEY SHARE). Whoever holds that row FOR UPDATE takes tasks
-- without waiting, so that it never waits for a step.
-- Raises, so that the COMMIT behind it does nothing: ZT001 fenced, ZT002 the run is not this worker's any more,
-- ZT003 a record is there already, ZT004 another transaction.
CREATE FUNCTION zart_record_v1(p_worker uuid, p_xact text, p_steps json, p_patience integer,
                               p_finishes jsonb DEFAULT NULL) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_verdict text;
BEGIN
  IF pg_current_xact_id_if_assigned()::text IS DISTINCT FROM p_xact THEN
    RAISE EXCEPTION 'not the transaction that was begun for the step' USING ERRCODE = 'ZT004';
  END IF;
  -- A client that is frozen between the fence and its commit must not hold up whoever takes its runs over.
  PERFORM set_config('idle_in_transaction_session_timeout', p_patience::text, true);
  IF p_finishes IS NOT NULL THEN
    PERFORM zart_record_spawned_v1(p_worker, p_finishes);
    RETURN;
  END IF;
  FOR v_verdict IN SELECT verdict FROM zart_flush_v1(p_worker, p_steps, NULL, false) WHERE verdict <> 'ok' LOOP
    RAISE EXCEPTION 'the record is refused: %', v_verdict
      USING ERRCODE = CASE v_verdict WHEN 'fenced' THEN 'ZT001' WHEN 'lost' THEN 'ZT002' ELSE 'ZT003' END;
  END LOOP;
END $$;

-- The end of a spawned step in its own transaction: refused, unless its record is written.
-- Locks: the task rows of the step and of its run, waited for, and only then the worker's row: whoever takes tasks from
-- this worker holds that FOR UPDATE. A deadlock over them is found by the server, and the step runs again.
CREATE FUNCTION zart_record_spawned_v1(p_worker uuid, p_finishes jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_task uuid := (p_finishes #>> '{0,t}')::uuid;
  v_body uuid;
BEGIN
  SELECT parent_task INTO v_body FROM zart_tasks WHERE task_id = v_task;
  PERFORM 1 FROM zart_tasks WHERE task_id IN (v_task, v_body) ORDER BY task_id FOR UPDATE;
  IF NOT zart_fence_v1(p_worker) THEN
    RAISE EXCEPTION 'the record is refused: fenced' USING ERRCODE = 'ZT001';
  END IF;
  PERFORM 1 FROM zart_tasks t JOIN zart_tasks b ON b.task_id = t.parent_task AND b.phase = t.parent_phase
    WHERE t.task_id = v_task AND t.epoch = (p_finishes #>> '{0,e}')::integer AND t.worker_id = p_worker
      AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = b.task_id AND s.ident = t.parent_ident);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the record is refused: nobody wants it any more' USING ERRCODE = 'ZT002';
  END IF;
  PERFORM zart_finish_steps_v1(ARRAY[v_task], p_finishes, p_worker);
END $$;

-- What became of a step's transaction whose COMMIT got no answer: `open` (ask again), `committed` or `gone`.
-- Without `p_turn` it is that of a spawned step, which only its owner ends.
-- A commit that still waits for a standby is open; anything else that is open has lost its client, and is ended.
-- The transaction is over before its record is looked for, and the look has a snapshot of its own.
CREATE FUNCTION zart_fate_v1(p_xact text, p_run uuid, p_ident text, p_turn bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_status text;
BEGIN
  BEGIN
    v_status := pg_xact_status(p_xact::xid8);
  EXCEPTION WHEN invalid_parameter_value THEN
    NULL;  -- another server has taken this one's place, and has not come that far: the record alone can tell
  END;
  IF v_status = 'in progress' THEN
    PERFORM zart_end_transaction_v1(p_xact);
    RETURN 'open';
  END IF;
  PERFORM 1 FROM zart_steps
    WHERE run_id = p_run AND ident = p_ident AND (turn = p_turn OR (p_turn IS NULL AND outcome <> 'x'));
  RETURN CASE WHEN FOUND THEN 'committed' ELSE 'gone' END;
END $$;

-- End the connection of a transaction that nobody wants any more, so that what it has locked is free. Best effort.
CREATE FUNCTION zart_end_transaction_v1(p_xact text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_terminate_backend(a.pid)
  FROM pg_locks x JOIN pg_stat_activity a ON a.pid = x.pid
  WHERE x.locktype = 'transactionid' AND x.granted AND x.mode = 'ExclusiveLock'
    AND x.transactionid = (p_xact::xid8)::xid AND a.wait_event IS DISTINCT FROM 'SyncRep'
    AND a.pid <> pg_backend_pid();
EXCEPTION WHEN insufficient_privilege THEN
  RAISE WARNING 'transaction % is not wanted any more and its connection may not be terminated', p_xact;
END $$;

-- End the open transactions of steps whose workers are dead: a frozen one would keep what it has locked from the worker
-- that runs the step again. Their connections carry the worker's id in their name.
CREATE FUNCTION zart_end_transactions_of_v1(p_workers uuid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_terminate_backend(a.pid) FROM pg_stat_activity a
  WHERE a.datname = current_database() AND a.application_name = ANY (SELECT 'zart-step-' || w FROM unnest(p_workers) w);
EXCEPTION WHEN insufficient_privilege THEN
  RAISE WARNING 'a dead worker has a step in a transaction and its connection may not be terminated';
END $$;
