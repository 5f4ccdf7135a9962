-- Broadcasts: one row for whoever waits for a topic. The row is inserted by itself, perhaps in a user's transaction, and
-- holds nothing up. Once it is committed it gets its place, and the waits that were open then are met, in transactions
-- of their own: by the sender right away, by a worker's sweep, or by whatever looks at the wait before that.

-- What waits and broadcasts of one name and key have in common. Names and keys have no control characters.
CREATE FUNCTION zart_topic_v1(p_name text, p_key text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT sha256(convert_to(p_name || chr(31) || p_key, 'UTF8'))
$$;

-- Accept a broadcast, once per topic and idempotency key. `p_alone`: nothing else is in this transaction, so that the
-- place can be given at once; else it comes later, and what a user's transaction holds is this row only.
-- Locks: the new row; if alone, then the topic until the end of the transaction.
CREATE FUNCTION zart_broadcast_v1(p_name text, p_key text, p_idem_key text, p_payload bytea, p_retain float8,
                                  p_alone boolean, OUT status text, OUT event_id bigint)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_topic bytea := zart_topic_v1(p_name, p_key);
BEGIN
  PERFORM zart_require_read_committed_v1();
  LOOP
    INSERT INTO zart_broadcasts AS b (topic, name, key, idem_key, payload, payload_hash, retain_until)
      VALUES (v_topic, p_name, p_key, p_idem_key, p_payload, sha256(p_payload),
              clock_timestamp() + p_retain * interval '1 second')
      ON CONFLICT (topic, idem_key) WHERE idem_key IS NOT NULL DO NOTHING
      RETURNING b.event_id INTO event_id;
    EXIT WHEN FOUND;
    SELECT CASE WHEN b.payload_hash = sha256(p_payload) THEN 'duplicate' ELSE 'mismatch' END, b.event_id
      INTO status, event_id
      FROM zart_broadcasts b WHERE b.topic = v_topic AND b.idem_key = p_idem_key;
    IF FOUND THEN
      RETURN;
    END IF;
  END LOOP;
  status := 'accepted';
  IF p_alone THEN
    PERFORM zart_place_broadcast_v1(event_id);
  END IF;
END $$;

-- Give a broadcast its place: waits with an earlier one were open, later ones were not.
-- Locks: the topic. Whoever registers a wait holds it shared until its commit, or knows that somebody holds it, and
-- looks again. So there is no wait that is neither seen by who meets this broadcast nor sees it.
CREATE FUNCTION zart_place_broadcast_v1(p_event bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_topic bytea;
BEGIN
  SELECT topic INTO STRICT v_topic FROM zart_broadcasts WHERE event_id = p_event;
  PERFORM pg_advisory_xact_lock(2053206644, get_byte(v_topic, 0));
  UPDATE zart_broadcasts SET place = nextval('zart_event_ids') WHERE event_id = p_event AND place IS NULL;
END $$;

-- Hold a topic for the registration of a wait, if nobody gives a place in it just now. 256 locks stand for all topics:
-- one flush may register any number of waits, and the server has a limited number of locks.
CREATE FUNCTION zart_hold_topic_v1(p_topic bytea) RETURNS boolean
LANGUAGE sql AS $$
  SELECT pg_try_advisory_xact_lock_shared(2053206644, get_byte(p_topic, 0))
$$;

-- Meet up to `p_limit` of the waits that were open at a broadcast's place, from the place `p_after` on. `after` is where
-- to go on; NULL at the end. `skipped` waits are those whose runs' rows are held by others. When none is left, the
-- broadcast is done with.
-- Locks: the task rows, SKIP LOCKED. Index: zart_waits_born.
CREATE FUNCTION zart_meet_broadcast_v1(p_event bigint, p_after bigint, p_limit integer,
                                       OUT after bigint, OUT skipped integer)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  v_event zart_broadcasts;
  v_runs  uuid[];
  v_seen  integer;
BEGIN
  skipped := 0;
  SELECT * INTO v_event FROM zart_broadcasts WHERE event_id = p_event AND unmet;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF v_event.place IS NULL THEN
    PERFORM zart_place_broadcast_v1(p_event);
    after := p_after;
    RETURN;
  END IF;
  SELECT array_agg(DISTINCT w.run_id), max(w.born), count(*) INTO v_runs, after, v_seen
  FROM (SELECT run_id, born FROM zart_waits
        WHERE topic = v_event.topic AND born > p_after AND born < v_event.place ORDER BY born LIMIT p_limit) w;
  IF v_seen > 0 THEN
    SELECT array_agg(h.task_id) INTO v_runs
    FROM (SELECT task_id FROM zart_tasks WHERE task_id = ANY (v_runs) ORDER BY task_id FOR UPDATE SKIP LOCKED) h;
    PERFORM zart_meet_in_order_v1(v_runs, v_event.topic, v_event.place);
    SELECT count(*) INTO skipped FROM zart_waits
      WHERE topic = v_event.topic AND born > p_after AND born <= after
        AND (deadline IS NULL OR deadline > v_event.accepted_at);
  END IF;
  IF v_seen < p_limit THEN
    after := NULL;
    UPDATE zart_broadcasts SET unmet = false
      WHERE event_id = p_event
        AND NOT EXISTS (SELECT 1 FROM zart_waits w
                        WHERE w.topic = v_event.topic AND w.born < v_event.place
                          AND (w.deadline IS NULL OR w.deadline > v_event.accepted_at) OFFSET 0);
  END IF;
END $$;

-- Give these runs' open waits for a topic the broadcasts that came for them up to a place, the earliest first.
-- Locks: the caller holds the task rows.
CREATE FUNCTION zart_meet_in_order_v1(p_runs uuid[], p_topic bytea, p_place bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_event bigint;
BEGIN
  FOR v_event IN
    SELECT event_id FROM zart_broadcasts
    WHERE topic = p_topic AND unmet AND (p_place IS NULL OR place <= p_place)
    ORDER BY coalesce(place, 9223372036854775807), event_id
  LOOP
    PERFORM zart_meet_waits_v1(p_runs, v_event);
  END LOOP;
END $$;

-- The same for the keyed waits of one name of one run, and every place: before something else ends one of them. A
-- broadcast without a place is after all waits.
-- Locks: the caller holds the task row.
CREATE FUNCTION zart_meet_pending_v1(p_run uuid, p_name text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_topic bytea;
BEGIN
  FOR v_topic IN
    SELECT DISTINCT topic FROM zart_waits WHERE run_id = p_run AND name = p_name AND topic IS NOT NULL
  LOOP
    PERFORM zart_meet_in_order_v1(ARRAY[p_run], v_topic, NULL);
  END LOOP;
END $$;

-- Set a broadcast aside for the open waits of these runs that it is for: the waits go, their records come, without
-- turns, and runs that are parked wake.
-- Locks: the caller holds the task rows.
CREATE FUNCTION zart_meet_waits_v1(p_runs uuid[], p_event bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_event zart_broadcasts;
  v_met   uuid[];
BEGIN
  SELECT * INTO STRICT v_event FROM zart_broadcasts WHERE event_id = p_event;
  WITH met AS (
    DELETE FROM zart_waits w
    WHERE w.run_id = ANY (p_runs) AND w.topic = v_event.topic AND (v_event.place IS NULL OR w.born < v_event.place)
      AND (w.deadline IS NULL OR w.deadline > v_event.accepted_at)
    RETURNING w.run_id, w.ident, w.execution_id, w.seq, w.created_at
  ), used AS (
    INSERT INTO zart_event_uses (event_id, execution_id, consumed_run, consumed_ident)
    SELECT p_event, execution_id, run_id, ident FROM met
  ), recorded AS (
    INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, started_at, payload)
    SELECT run_id, ident, seq, 'w', 'o', created_at, v_event.payload FROM met
    RETURNING run_id
  )
  SELECT array_agg(DISTINCT run_id) INTO v_met FROM recorded;
  UPDATE zart_tasks SET state = 'r', due_at = NULL WHERE task_id = ANY (v_met) AND state = 'w';
END $$;

-- The broadcast that a new wait for a topic takes: one given back to this execution's mailbox, or one that is retained
-- and that the execution had nothing of yet; the earlier of the two. `use_id` is that of the former.
CREATE FUNCTION zart_find_broadcast_v1(p_execution_id text, p_topic bytea, OUT event_id bigint, OUT use_id bigint,
                                       OUT place bigint, OUT payload bytea)
LANGUAGE sql STABLE AS $$
  SELECT x.event_id, x.use_id, x.place, x.payload
  FROM ((SELECT b.event_id, u.use_id, coalesce(b.place, 9223372036854775807) AS place, b.payload
         FROM zart_event_uses u JOIN zart_broadcasts b ON b.event_id = u.event_id
         WHERE u.execution_id = p_execution_id AND u.consumed_run IS NULL AND b.topic = p_topic)
        UNION ALL
        (SELECT b.event_id, NULL, coalesce(b.place, 9223372036854775807), b.payload
         FROM zart_broadcasts b
         WHERE b.topic = p_topic AND b.retain_until IS NOT NULL AND b.retain_until > clock_timestamp()
           AND NOT EXISTS (SELECT 1 FROM zart_event_uses u
                           WHERE u.event_id = b.event_id AND u.execution_id = p_execution_id)
         ORDER BY b.place, b.event_id LIMIT 1)) x
  ORDER BY x.place, x.event_id LIMIT 1
$$;

-- Take back what a wait got of a broadcast, and return it if it lies in the mailbox now; it does not while another wait
-- of the execution has it too.
-- Locks: the caller holds the run's task row.
CREATE FUNCTION zart_free_use_v1(p_run uuid, p_ident text) RETURNS zart_event_uses
LANGUAGE plpgsql AS $$
DECLARE
  v_use zart_event_uses;
BEGIN
  SELECT * INTO v_use FROM zart_event_uses WHERE consumed_run = p_run AND consumed_ident = p_ident;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  PERFORM 1 FROM zart_event_uses
    WHERE event_id = v_use.event_id AND execution_id = v_use.execution_id AND use_id <> v_use.use_id;
  IF FOUND THEN
    DELETE FROM zart_event_uses WHERE use_id = v_use.use_id;
    RETURN NULL;
  END IF;
  UPDATE zart_event_uses SET consumed_run = NULL, consumed_ident = NULL WHERE use_id = v_use.use_id;
  RETURN v_use;
END $$;
