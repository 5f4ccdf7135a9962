CREATE TYPE zart_answer_v1 AS (
  verdict text, o_task uuid, o_ident text, o_turn bigint, o_kind text, o_outcome text, o_payload bytea, o_secs float8
);

CREATE FUNCTION zart_say_v1(p_verdict text, p_task uuid, p_ident text, p_secs float8) RETURNS zart_answer_v1
LANGUAGE sql IMMUTABLE AS $$
  SELECT ROW(p_verdict, p_task, p_ident, NULL, NULL, NULL, NULL, p_secs)::zart_answer_v1
$$;

-- One checkpoint of a worker: all it has to record, fenced, in one round trip and one commit.
-- Plain records are the hot path: the fence, one insert, one answer. Answers tell exceptions only, then 'ok'.
-- Locks, in this order: the worker's row, the execution rows of runs that go on as others, the task rows of `p_rest` in one statement that never waits, the journal.
-- A resend locks the worker's row FOR UPDATE, and so waits until its first try is decided: that may still be running on
-- a connection which the client has given up, or waiting for a standby, and would look like somebody else's lock.
-- Planner: each record finds its task by key, whatever the tables' sizes were when the plan was made. OFFSET 0 keeps it
-- from reading all tasks of the worker instead, and a scan of the small table from staying when it has grown.
CREATE FUNCTION zart_flush_v1(p_worker uuid, p_steps json, p_rest jsonb, p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_held    uuid[];
  v_written integer;
BEGIN
  IF p_resend THEN
    PERFORM 1 FROM zart_workers WHERE worker_id = p_worker FOR UPDATE;  -- the first try may still be under way
  END IF;
  IF NOT zart_fence_v1(p_worker) THEN
    RETURN NEXT zart_say_v1('fenced', NULL, NULL, NULL);
    RETURN;
  END IF;
  IF p_rest IS NOT NULL THEN
    v_held := zart_hold_tasks_v1(p_rest);
  END IF;
  IF p_steps IS NOT NULL THEN
    INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, turn, wake_at, args_hash, attempt, started_at, worker_id,
                            payload)
    SELECT r.t, r.i, r.q, r.k, r.o, r.n, coalesce(clock_timestamp() + r.w * interval '1 second', r.u),
           decode(r.h, 'hex'), least(r.a, 32767), clock_timestamp() - r.d * interval '1 second', p_worker,
           convert_to(r.p, 'UTF8')
    FROM json_to_recordset(p_steps) AS r(t uuid, e integer, i text, q integer, k "char", o "char", n bigint, w float8,
                                         u timestamptz, h text, a integer, d float8, p text)
    CROSS JOIN LATERAL (SELECT t.epoch, t.worker_id FROM zart_tasks t WHERE t.task_id = r.t OFFSET 0) t
    WHERE t.epoch = r.e AND t.worker_id = p_worker  -- only an active task has an owner
    ON CONFLICT (run_id, ident) DO NOTHING;
    GET DIAGNOSTICS v_written = ROW_COUNT;
    IF v_written < json_array_length(p_steps) THEN
      RETURN QUERY SELECT * FROM zart_flush_refused_v1(p_worker, p_steps);
    END IF;
  END IF;
  IF p_rest IS NOT NULL THEN
    RETURN QUERY SELECT * FROM zart_flush_rest_v1(p_worker, p_rest, v_held, coalesce(p_resend, false));
  END IF;
  RETURN NEXT zart_say_v1('ok', NULL, NULL, NULL);
END $$;

-- Which plain records were not written, and why; a statement after the insert, so that it sees who won.
-- A record that this worker wrote before, with the same turn, is its own resend: silent, whatever became of the task.
-- A sleep has no turn until it is collected, so that it is known by its writer and kind.
CREATE FUNCTION zart_flush_refused_v1(p_worker uuid, p_steps json) RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY
  SELECT CASE WHEN t.task_id IS NULL THEN 'lost' ELSE 'stored' END, r.t, r.i,
         s.turn, s.kind::text, s.outcome::text, CASE WHEN t.task_id IS NOT NULL THEN s.payload END, NULL::float8
  FROM json_to_recordset(p_steps) AS r(t uuid, e integer, i text, k "char", n bigint)
  LEFT JOIN zart_tasks t ON t.task_id = r.t AND t.epoch = r.e AND t.worker_id = p_worker AND t.state = 'a'
  LEFT JOIN zart_steps s ON s.run_id = r.t AND s.ident = r.i
  WHERE s.run_id IS NULL OR s.worker_id IS DISTINCT FROM p_worker
     OR NOT coalesce(s.turn = r.n, r.n IS NULL AND s.kind = r.k AND s.kind = 'z');
END $$;

-- Lock the task rows that `p_rest` needs, in one statement, in order of their ids, and say which were free.
-- SKIP LOCKED: a user's transaction may hold a row for long, and a flush carries the records of many other runs.
CREATE FUNCTION zart_hold_tasks_v1(p_rest jsonb) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
  v_needed uuid[];
  v_held   uuid[];
BEGIN
  SELECT array_agg(DISTINCT (item ->> 't')::uuid) INTO v_needed
  FROM jsonb_each(p_rest - 'attempts' - 'states') AS g(kind, items), jsonb_array_elements(g.items) AS item;
  IF p_rest ? 'continues' THEN
    v_needed := zart_hold_executions_v1(p_rest -> 'continues', v_needed);
  END IF;
  IF v_needed IS NOT NULL THEN
    SELECT array_agg(h.task_id) INTO v_held
    FROM (SELECT task_id FROM zart_tasks WHERE task_id = ANY (v_needed) ORDER BY task_id FOR UPDATE SKIP LOCKED) h;
  END IF;
  RETURN coalesce(v_held, '{}');
END $$;

-- Everything but plain records, in the order in which one kind prepares the next: cancels before waits, so that an
-- event given back is in the mailbox for a new wait; cancels of spawned steps before spawns, so that one cancelled at
-- once is never begun; ends of spawned steps before collects; collects before parks, so that a park counts what they found.
-- Answers for no item: `news`, other runs have become ready or were told something; `leaves`, some are to be cancelled.
CREATE FUNCTION zart_flush_rest_v1(p_worker uuid, p_rest jsonb, p_held uuid[], p_resend boolean)
RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
BEGIN
  IF p_rest ? 'attempts' THEN
    RETURN QUERY SELECT * FROM zart_flush_attempts_v1(p_worker, p_rest -> 'attempts');
  END IF;
  IF p_rest ? 'states' THEN
    PERFORM zart_flush_states_v1(p_worker, p_rest -> 'states');
  END IF;
  IF p_rest ? 'cancels' THEN
    RETURN QUERY SELECT * FROM zart_flush_cancels_v1(p_worker, p_rest -> 'cancels', p_held, p_resend);
  END IF;
  IF p_rest ? 'waits' THEN
    RETURN QUERY SELECT * FROM zart_flush_waits_v1(p_worker, p_rest -> 'waits', p_held, p_resend);
  END IF;
  IF p_rest ? 'children' THEN
    RETURN QUERY SELECT * FROM zart_flush_children_v1(p_worker, p_rest -> 'children', p_held, p_resend);
  END IF;
  IF p_rest ? 'revokes' THEN
    RETURN QUERY SELECT * FROM zart_flush_revokes_v1(p_worker, p_rest -> 'revokes', p_held, p_resend);
  END IF;
  IF p_rest ? 'spawns' THEN
    RETURN QUERY SELECT * FROM zart_flush_spawns_v1(p_worker, p_rest -> 'spawns', p_held, p_resend);
  END IF;
  IF p_rest ? 'finishes' THEN
    RETURN QUERY SELECT * FROM zart_flush_finishes_v1(p_worker, p_rest -> 'finishes', p_held, p_resend);
  END IF;
  IF p_rest ? 'collects' THEN
    RETURN QUERY SELECT * FROM zart_flush_collects_v1(p_worker, p_rest -> 'collects', p_held, p_resend);
  END IF;
  IF p_rest ? 'parks' THEN
    RETURN QUERY SELECT * FROM zart_flush_parks_v1(p_worker, p_rest -> 'parks', p_held);
  END IF;
  IF p_rest ? 'delays' THEN
    RETURN QUERY SELECT * FROM zart_flush_delays_v1(p_worker, p_rest -> 'delays', p_held);
  END IF;
  IF p_rest ? 'releases' THEN
    RETURN QUERY SELECT * FROM zart_flush_releases_v1(p_worker, p_rest -> 'releases', p_held);
  END IF;
  IF p_rest ? 'blocks' THEN
    RETURN QUERY SELECT * FROM zart_flush_blocks_v1(p_worker, p_rest -> 'blocks', p_held);
  END IF;
  IF p_rest ? 'ends' THEN
    RETURN QUERY SELECT * FROM zart_flush_ends_v1(p_worker, p_rest -> 'ends', p_held);
  END IF;
  IF p_rest ? 'continues' THEN
    RETURN QUERY SELECT * FROM zart_flush_continues_v1(p_worker, p_rest -> 'continues', p_held);
  END IF;
END $$;

-- What one item of a flush may do; read after the task rows were locked.
--   own   the task is this worker's by this epoch, and its row is held
--   busy  the same, but another transaction holds the row
--   left  this epoch has parked, released or blocked the task: the item is a resend
--   over  this worker has ended the run by this epoch: the item is a resend
--   lost  the task is no longer this worker's
CREATE FUNCTION zart_standing_v1(p_worker uuid, p_task uuid, p_epoch integer, p_held uuid[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  v_task zart_tasks;
BEGIN
  SELECT * INTO v_task FROM zart_tasks WHERE task_id = p_task;
  IF FOUND THEN
    RETURN CASE WHEN v_task.epoch <> p_epoch THEN 'lost'
                WHEN v_task.state <> 'a' THEN 'left'
                WHEN v_task.worker_id <> p_worker THEN 'lost'
                WHEN p_task = ANY (p_held) THEN 'own'
                ELSE 'busy' END;
  END IF;
  PERFORM 1 FROM zart_execution_runs WHERE run_id = p_task AND final_epoch = p_epoch AND worker_id = p_worker;
  RETURN CASE WHEN FOUND THEN 'over' ELSE 'lost' END;
END $$;
