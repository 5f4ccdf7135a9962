-- Names and identities are compared as bytes (COLLATE "C"): no locale or ICU upgrade can reorder or break an index.
-- No foreign keys on tables that the hot path writes: each costs about half an insert and locks the parent row.
-- Every key of a run's data starts with run_id, so that the tables can be partitioned later without touching a query.

CREATE TABLE zart_workers (
  worker_id        uuid        PRIMARY KEY,
  state            text        NOT NULL DEFAULT 'live',
  lease_expires_at timestamptz NOT NULL,
  started_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT zart_workers_state CHECK (state IN ('live', 'draining', 'dead'))
) WITH (
  fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
  autovacuum_vacuum_cost_delay = 0
);
-- The lease itself is in no index, so that a heartbeat stays a heap-only update.
CREATE INDEX zart_workers_live ON zart_workers (worker_id) WHERE state <> 'dead';

CREATE TABLE zart_worker_info (
  worker_id  uuid        PRIMARY KEY,
  name       text        NOT NULL,
  host       text        NOT NULL,
  pid        integer     NOT NULL,
  queues     text[]      NOT NULL,
  workflows  text[]      NOT NULL,
  version    text        NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE zart_executions (
  execution_id        text COLLATE "C" PRIMARY KEY,
  workflow            text COLLATE "C" NOT NULL,
  input_hash          bytea            NOT NULL,
  current_run_id      uuid             NOT NULL,
  tags                jsonb            NOT NULL DEFAULT '{}',
  created_at          timestamptz      NOT NULL DEFAULT clock_timestamp(),
  -- The execution that started this one, and the call by which it did; for people, and as long as the execution.
  parent_execution_id text COLLATE "C",
  parent_ident        text COLLATE "C",
  CONSTRAINT zart_executions_id CHECK (char_length(execution_id) BETWEEN 1 AND 255),
  CONSTRAINT zart_executions_parent CHECK (num_nonnulls(parent_execution_id, parent_ident) IN (0, 2))
) WITH (fillfactor = 90);
CREATE INDEX zart_executions_children ON zart_executions (parent_execution_id, created_at)
  WHERE parent_execution_id IS NOT NULL;

-- Written three times at most: at the start, at the first claim and at the end. What a live run does is its task's.
-- divergence = why it is blocked; accepted = calls that people have vouched for; orphans = records that the code by which it ended did not meet.
CREATE TABLE zart_execution_runs (
  run_id       uuid             PRIMARY KEY,
  execution_id text COLLATE "C" NOT NULL,
  run_index    integer          NOT NULL DEFAULT 0,
  workflow     text COLLATE "C" NOT NULL,
  version      text COLLATE "C",
  queue        text COLLATE "C" NOT NULL,
  priority     smallint         NOT NULL DEFAULT 0,
  state        text             NOT NULL DEFAULT 'live',
  created_at   timestamptz      NOT NULL DEFAULT clock_timestamp(),
  started_at   timestamptz,
  finished_at  timestamptz,
  deadline_at  timestamptz,
  input        bytea,
  outcome      bytea,
  divergence   jsonb,
  accepted     text[]           NOT NULL DEFAULT '{}',
  orphans      text[]           NOT NULL DEFAULT '{}',
  final_epoch  integer,
  worker_id    uuid,
  handled      boolean          NOT NULL DEFAULT false,
  CONSTRAINT zart_runs_state CHECK (state IN ('live', 'blocked', 'completed', 'failed', 'cancelled')),
  CONSTRAINT zart_runs_end CHECK ((state IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
  CONSTRAINT zart_runs_index UNIQUE (execution_id, run_index)
) WITH (fillfactor = 85);
CREATE INDEX zart_runs_finished ON zart_execution_runs (finished_at) WHERE finished_at IS NOT NULL;
-- Lists of runs, newest first.
CREATE INDEX zart_runs_created ON zart_execution_runs (created_at, run_id);

-- The journal. turn = epoch << 32 | n orders what the body has seen; NULL = recorded from outside, not yet seen.
CREATE TABLE zart_steps (
  run_id       uuid             NOT NULL,
  ident        text COLLATE "C" NOT NULL,
  seq          integer          NOT NULL,
  kind         "char"           NOT NULL,
  outcome      "char"           NOT NULL,
  turn         bigint,
  wake_at      timestamptz,
  args_hash    bytea,
  attempt      smallint         NOT NULL DEFAULT 1,
  started_at   timestamptz,
  completed_at timestamptz      NOT NULL DEFAULT clock_timestamp(),
  worker_id    uuid,
  payload      bytea,
  PRIMARY KEY (run_id, ident),
  CONSTRAINT zart_steps_kind CHECK (kind IN ('s', 'c', 'z', 'w', 'k', 'p', 'g', 'v')),
  CONSTRAINT zart_steps_outcome CHECK (outcome IN ('o', 'e', 't', 'c', 'x'))
) WITH (autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02);
-- The only index beside the key: a plain step, born with its turn, does not touch it.
CREATE INDEX zart_steps_unturned ON zart_steps (run_id) WHERE turn IS NULL;

-- A failed attempt, one that has sent a heartbeat with details, or (attempt 1) the recorded deadline of a step. A step
-- that succeeds at once writes no row here.
-- is_last: a person has granted one more attempt after it, whatever the policy says.
CREATE TABLE zart_step_attempts (
  run_id      uuid             NOT NULL,
  ident       text COLLATE "C" NOT NULL,
  attempt     integer          NOT NULL,
  kind        "char"           NOT NULL,
  started_at  timestamptz      NOT NULL,
  ended_at    timestamptz,
  next_at     timestamptz,
  deadline_at timestamptz,
  worker_id   uuid,
  error       bytea,
  heartbeat   bytea,
  is_last     boolean          NOT NULL DEFAULT false,
  PRIMARY KEY (run_id, ident, attempt)
);

-- Hot and small: a row is deleted when its run ends. For a body task_id = run_id, so every fence is one key probe.
-- divergences, diverged_epoch = how often in a row code did not fit its journal, and the epoch of the latest time;
-- diverged_by = the worker that has just handed it back for that.
CREATE TABLE zart_tasks (
  task_id             uuid             PRIMARY KEY,
  run_id              uuid             NOT NULL,
  execution_id        text COLLATE "C" NOT NULL,
  kind                "char"           NOT NULL DEFAULT 'b',
  queue               text COLLATE "C" NOT NULL,
  workflow            text COLLATE "C" NOT NULL,
  version             text COLLATE "C" NOT NULL DEFAULT '',
  priority            smallint         NOT NULL DEFAULT 0,
  seq                 bigint           GENERATED ALWAYS AS IDENTITY,
  state               "char"           NOT NULL DEFAULT 'r',
  -- What its owner runs: the body (b), or what follows when that has failed (f) or was cancelled (c): F and C are its
  -- rollbacks, f and c the workflow's handlers.
  phase               "char"           NOT NULL DEFAULT 'b',
  due_at              timestamptz,
  deadline_at         timestamptz,
  epoch               integer          NOT NULL DEFAULT 0,
  worker_id           uuid,
  claim_id            uuid,
  crash_count         smallint         NOT NULL DEFAULT 0,
  trusted             boolean          NOT NULL DEFAULT false,
  divergences         smallint         NOT NULL DEFAULT 0,
  diverged_epoch      integer,
  diverged_by         uuid,
  cancel_requested_at timestamptz,
  cancel_reason       text,
  -- Whose journal gets the outcome: the body task of the run that started this one, and where in it.
  parent_task         uuid,
  parent_ident        text COLLATE "C",
  parent_seq          integer,
  parent_hash         bytea,
  parent_phase        "char",
  CONSTRAINT zart_tasks_kind CHECK (kind IN ('b', 's')),
  CONSTRAINT zart_tasks_parent CHECK (num_nonnulls(parent_task, parent_ident, parent_seq) IN (0, 3)),
  CONSTRAINT zart_tasks_phase CHECK (phase IN ('b', 'F', 'C', 'f', 'c')),
  CONSTRAINT zart_tasks_state CHECK (state IN ('r', 'a', 'w', 'b')),
  CONSTRAINT zart_tasks_owner CHECK ((state = 'a') = (worker_id IS NOT NULL)),
  CONSTRAINT zart_tasks_cancel CHECK (cancel_requested_at IS NULL OR state = 'a')
) WITH (
  fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_cost_limit = 10000,
  autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 500
);
CREATE INDEX zart_tasks_ready ON zart_tasks (queue, workflow, version, priority DESC, seq)
  WHERE state = 'r' AND crash_count < 2;
-- Apart from all others: what may kill the worker that claims it.
CREATE INDEX zart_tasks_suspect ON zart_tasks (queue, workflow, version, priority DESC, seq)
  WHERE state = 'r' AND crash_count >= 2;
CREATE INDEX zart_tasks_due ON zart_tasks (due_at) WHERE state = 'w' AND due_at IS NOT NULL;
CREATE INDEX zart_tasks_deadline ON zart_tasks (deadline_at) WHERE deadline_at IS NOT NULL;
CREATE INDEX zart_tasks_owned ON zart_tasks (worker_id) WHERE state = 'a';
CREATE INDEX zart_tasks_children ON zart_tasks (parent_task) WHERE parent_task IS NOT NULL;
CREATE INDEX zart_tasks_cancelling ON zart_tasks (cancel_requested_at) WHERE cancel_requested_at IS NOT NULL;

-- Runs that are to be cancelled since whoever started them has ended or given them up: one row each, soon gone. A task
-- may be in it twice: a unique key would make one transaction wait for another.
CREATE TABLE zart_cancellations (
  cancellation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_id         uuid   NOT NULL,
  reason          text   NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);

-- The latest value of each name that a run has published.
CREATE TABLE zart_state (
  run_id     uuid             NOT NULL,
  key        text COLLATE "C" NOT NULL,
  turn       bigint           NOT NULL,
  value      bytea            NOT NULL,
  updated_at timestamptz      NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run_id, key)
) WITH (fillfactor = 70);

-- One count for events, broadcasts and keyed waits: it tells which of two came first.
CREATE SEQUENCE zart_event_ids;

CREATE TABLE zart_events (
  event_id       bigint           PRIMARY KEY DEFAULT nextval('zart_event_ids'),
  execution_id   text COLLATE "C" NOT NULL,
  name           text COLLATE "C" NOT NULL,
  idem_key       text COLLATE "C",
  payload        bytea,
  payload_hash   bytea            NOT NULL,
  accepted_at    timestamptz      NOT NULL DEFAULT clock_timestamp(),
  consumed_run   uuid,
  consumed_ident text COLLATE "C"
);
CREATE UNIQUE INDEX zart_events_idem ON zart_events (execution_id, idem_key) WHERE idem_key IS NOT NULL;
CREATE INDEX zart_events_mailbox ON zart_events (execution_id, name, event_id) WHERE consumed_run IS NULL;
CREATE INDEX zart_events_used ON zart_events (consumed_run, consumed_ident) WHERE consumed_run IS NOT NULL;
CREATE INDEX zart_events_execution ON zart_events (execution_id, event_id);

-- Events for whoever waits for their topic, which is a name and a key. `place` is where one stands among events and
-- waits; it gets it once it is committed. `unmet`: a wait that was open then may still be without it.
CREATE TABLE zart_broadcasts (
  event_id     bigint           PRIMARY KEY DEFAULT nextval('zart_event_ids'),
  topic        bytea            NOT NULL,
  name         text COLLATE "C" NOT NULL,
  key          text COLLATE "C" NOT NULL,
  idem_key     text COLLATE "C",
  payload      bytea            NOT NULL,
  payload_hash bytea            NOT NULL,
  accepted_at  timestamptz      NOT NULL DEFAULT clock_timestamp(),
  retain_until timestamptz,
  place        bigint,
  unmet        boolean          NOT NULL DEFAULT true
) WITH (fillfactor = 90);
CREATE UNIQUE INDEX zart_broadcasts_idem ON zart_broadcasts (topic, idem_key) WHERE idem_key IS NOT NULL;
CREATE INDEX zart_broadcasts_unmet ON zart_broadcasts (topic, event_id) WHERE unmet;
CREATE INDEX zart_broadcasts_retained ON zart_broadcasts (topic, place) WHERE retain_until IS NOT NULL;

-- What was set aside of a broadcast for an execution: one row for each of its waits that got it. Without a consumer it
-- lies in the mailbox, given back.
CREATE TABLE zart_event_uses (
  use_id         bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id       bigint           NOT NULL,
  execution_id   text COLLATE "C" NOT NULL,
  consumed_run   uuid,
  consumed_ident text COLLATE "C"
);
CREATE INDEX zart_event_uses_event ON zart_event_uses (event_id, execution_id);
CREATE INDEX zart_event_uses_execution ON zart_event_uses (execution_id);
CREATE INDEX zart_event_uses_mailbox ON zart_event_uses (execution_id) WHERE consumed_run IS NULL;
CREATE UNIQUE INDEX zart_event_uses_used ON zart_event_uses (consumed_run, consumed_ident)
  WHERE consumed_run IS NOT NULL;

-- `key`, `topic` and `born`, its place among broadcasts, are those of a wait with a key.
CREATE TABLE zart_waits (
  run_id       uuid             NOT NULL,
  ident        text COLLATE "C" NOT NULL,
  execution_id text COLLATE "C" NOT NULL,
  seq          integer          NOT NULL,
  name         text COLLATE "C" NOT NULL,
  key          text COLLATE "C",
  topic        bytea,
  born         bigint,
  deadline     timestamptz,
  created_at   timestamptz      NOT NULL DEFAULT clock_timestamp(),
  timeout_secs float8,
  PRIMARY KEY (run_id, ident),
  CONSTRAINT zart_waits_topic CHECK (num_nonnulls(key, topic, born) IN (0, 3))
) WITH (
  fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
  autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX zart_waits_name ON zart_waits (run_id, name, seq);
CREATE INDEX zart_waits_born ON zart_waits (topic, born) WHERE topic IS NOT NULL;

-- What people did to executions, in order; kept when the execution is gone.
CREATE TABLE zart_audit (
  audit_id     bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at           timestamptz      NOT NULL DEFAULT clock_timestamp(),
  actor        text             NOT NULL,
  action       text             NOT NULL,
  execution_id text COLLATE "C" NOT NULL,
  detail       jsonb            NOT NULL
);
CREATE INDEX zart_audit_execution ON zart_audit (execution_id, audit_id);
-- A request that has a name of its own is carried out once.
CREATE UNIQUE INDEX zart_audit_request ON zart_audit (execution_id, (detail ->> 'request'));

CREATE TABLE zart_workflows (
  workflow      text COLLATE "C" NOT NULL,
  version       text COLLATE "C" NOT NULL,
  parameters    text[]           NOT NULL,
  required      text[]           NOT NULL,
  input_schema  json,
  result_schema json,
  current       boolean          NOT NULL,
  queue         text COLLATE "C" NOT NULL,
  priority      smallint         NOT NULL,
  on_failure    boolean          NOT NULL,
  on_cancel     boolean          NOT NULL,
  max_crashes   smallint         NOT NULL,
  last_seen_at  timestamptz      NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (workflow, version)
);

-- lz4 packs payloads about three times as fast as the default, but not every server is built with it.
DO $lz4$
BEGIN
  IF 'lz4' = ANY (SELECT unnest(enumvals) FROM pg_settings WHERE name = 'default_toast_compression') THEN
    ALTER TABLE zart_execution_runs ALTER COLUMN input SET COMPRESSION lz4, ALTER COLUMN outcome SET COMPRESSION lz4;
    ALTER TABLE zart_steps ALTER COLUMN payload SET COMPRESSION lz4;
    ALTER TABLE zart_step_attempts ALTER COLUMN error SET COMPRESSION lz4;
    ALTER TABLE zart_events ALTER COLUMN payload SET COMPRESSION lz4;
    ALTER TABLE zart_broadcasts ALTER COLUMN payload SET COMPRESSION lz4;
    ALTER TABLE zart_state ALTER COLUMN value SET COMPRESSION lz4;
  END IF;
END $lz4$;
