-- The fence (L4): whether `p_worker` may write, held until the transaction ends.
-- Locks: the worker's row FOR KEY SHARE, so that its own heartbeat passes and whoever takes its runs away, by
-- FOR UPDATE, waits for this transaction or makes it wait.
-- Lock in one statement, look in the next: a statement that waits for a lock goes on with the snapshot it had before.
CREATE FUNCTION zart_fence_v1(p_worker uuid) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    PERFORM zart_require_read_committed_v1();
  END IF;
  PERFORM 1 FROM zart_workers WHERE worker_id = p_worker FOR KEY SHARE;
  PERFORM 1 FROM zart_workers
    WHERE worker_id = p_worker AND state <> 'dead' AND lease_expires_at > clock_timestamp();
  RETURN FOUND;
END $$;

-- "Lock, then look" needs a new snapshot for every statement; at a higher isolation level it would decide on old facts.
CREATE FUNCTION zart_require_read_committed_v1() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE EXCEPTION 'Zart needs a READ COMMITTED transaction, this one is %',
      upper(current_setting('transaction_isolation')) USING ERRCODE = 'invalid_transaction_state';
  END IF;
END $$;
