-- Failed attempts, heartbeats and recorded deadlines of steps, of bodies and of spawned ones: plain records, no task lock.
-- `j` is the run, where the task is not its body.
-- What belongs to one attempt shares a row and may come in one flush, hence the grouping. What a column holds is never
-- replaced, but for heartbeats, the latest of which counts: a deadline stays the first one, and a resend does not move a
-- retry. The row's worker is the latest that had something to say of the attempt.
CREATE FUNCTION zart_flush_attempts_v1(p_worker uuid, p_items jsonb) RETURNS SETOF zart_answer_v1
LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO zart_step_attempts AS a (run_id, ident, attempt, kind, started_at, ended_at, next_at, deadline_at,
                                       worker_id, error, heartbeat)
  SELECT t.run_id, r.i, r.a, min(r.k)::"char", clock_timestamp() - coalesce(max(r.d), 0) * interval '1 second',
         CASE WHEN max(r.x) IS NOT NULL THEN clock_timestamp() END,
         clock_timestamp() + min(r.w) * interval '1 second', clock_timestamp() + min(r.l) * interval '1 second',
         p_worker, convert_to(max(r.x), 'UTF8'),
         convert_to((array_agg(r.b ORDER BY r.place DESC) FILTER (WHERE r.b IS NOT NULL))[1], 'UTF8')
  FROM ROWS FROM (jsonb_to_recordset(p_items) AS (t uuid, e integer, i text, a integer, k text, d float8, x text,
                                                  w float8, l float8, b text)) WITH ORDINALITY
       AS r(t, e, i, a, k, d, x, w, l, b, place)
  JOIN zart_tasks t ON t.task_id = r.t AND t.epoch = r.e AND t.worker_id = p_worker AND t.state = 'a'
  GROUP BY t.run_id, r.i, r.a
  ORDER BY t.run_id, r.i, r.a
  ON CONFLICT (run_id, ident, attempt) DO UPDATE
    SET deadline_at = coalesce(a.deadline_at, excluded.deadline_at),
        started_at = CASE WHEN a.error IS NULL AND num_nonnulls(excluded.error, excluded.heartbeat) > 0
                          THEN excluded.started_at ELSE a.started_at END,
        worker_id = CASE WHEN a.error IS NULL AND num_nonnulls(excluded.error, excluded.heartbeat) > 0
                         THEN excluded.worker_id ELSE a.worker_id END,
        heartbeat = coalesce(excluded.heartbeat, a.heartbeat),
        ended_at = coalesce(a.ended_at, excluded.ended_at),
        next_at = CASE WHEN a.error IS NULL THEN excluded.next_at ELSE a.next_at END,
        error = coalesce(a.error, excluded.error);
  RETURN QUERY
  SELECT DISTINCT 'lost', r.t, r.i, NULL::bigint, NULL, NULL, NULL::bytea, NULL::float8
  FROM jsonb_to_recordset(p_items) AS r(t uuid, e integer, j uuid, i text, a integer, x text)
  LEFT JOIN zart_tasks t ON t.task_id = r.t AND t.epoch = r.e AND t.worker_id = p_worker AND t.state = 'a'
  LEFT JOIN zart_step_attempts a ON a.run_id = coalesce(r.j, r.t) AND a.ident = r.i AND a.attempt = r.a
                                AND (r.x IS NULL OR (a.error IS NOT NULL AND a.worker_id = p_worker))
  WHERE t.task_id IS NULL AND a.run_id IS NULL;
END $$;
