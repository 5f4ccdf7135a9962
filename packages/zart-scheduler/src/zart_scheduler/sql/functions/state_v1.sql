-- Values that bodies have published, beside their plain records: the latest of each name is kept. One whose record is
-- not this worker's with this turn counts for nothing; one that is sent again changes nothing.
CREATE FUNCTION zart_flush_states_v1(p_worker uuid, p_items jsonb) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO zart_state AS x (run_id, key, turn, value)
  SELECT DISTINCT ON (r.t, r.key) r.t, r.key, r.n, convert_to(r.p, 'UTF8')
  FROM jsonb_to_recordset(p_items) AS r(t uuid, i text, n bigint, key text, p text)
  CROSS JOIN LATERAL (SELECT 1 FROM zart_steps s
                      WHERE s.run_id = r.t AND s.ident = r.i AND s.turn = r.n AND s.worker_id = p_worker OFFSET 0) s
  ORDER BY r.t, r.key, r.n DESC
  ON CONFLICT (run_id, key) DO UPDATE
    SET turn = excluded.turn, value = excluded.value, updated_at = excluded.updated_at
    WHERE x.turn < excluded.turn
$$;
