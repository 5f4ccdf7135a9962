-- name: claim_tasks :many
-- Take ready tasks of known workflow versions for one worker. Locks: its worker row, then the tasks, SKIP LOCKED.
SELECT task_id, run_id, execution_id, epoch, workflow, version, crash_count, kind, fenced
FROM zart_claim_v1(%(worker)s, %(claim)s, %(queues)b::text[], %(workflows)b::text[], %(versions)b::text[],
                   %(current)b::boolean[], %(timeouts)b::float8[], %(limit)s, %(suspects)s);

-- name: look_at_active :many
-- The worker's active tasks that want attention. No locks.
SELECT task_id, epoch, cancel, cancel_reason, overdue, news FROM zart_look_v1(%(worker)s);

-- name: list_owned :many
-- All tasks that a worker owns, to be compared with what it has in memory. No locks. Index: zart_tasks_owned.
SELECT task_id, epoch FROM zart_tasks WHERE worker_id = %(worker)s AND state = 'a';

-- name: trust :one
-- A run that may kill its worker has not done so for long enough: its next death does not count. Locks: the fence.
SELECT zart_trust_v1(%(worker)s, %(run)s, %(epoch)s);

-- name: list_crashed :many
-- Ready runs whose workers have died as often as they may. No locks. Index: zart_tasks_suspect.
SELECT task_id, execution_id, least(crash_count, zart_max_crashes_v1(workflow, version)) FROM zart_tasks
WHERE state = 'r' AND crash_count >= 2 AND crash_count >= zart_max_crashes_v1(workflow, version)
LIMIT %(limit)s;

-- name: fail_crashed :one
-- Fail such a run, unless somebody has it. Locks: its task row and its parent's, SKIP LOCKED.
SELECT zart_fail_crashed_v1(%(run)s, %(payload)s);

-- name: fire_due :one
-- Waiting tasks whose time has come become ready. Locks: those rows, SKIP LOCKED.
SELECT zart_fire_due_v1(%(worker)s, %(limit)s);

-- name: requeue_dead :one
-- Tasks of dead workers become ready again. Locks: those rows, SKIP LOCKED.
SELECT zart_requeue_dead_v1(%(limit)s);

-- name: end_overdue :one
-- End runs whose deadline or cancel nobody obeyed. Locks: owners' worker rows, then the tasks, both SKIP LOCKED.
SELECT zart_end_overdue_v1(%(limit)s, %(grace)s::float8, %(payload)s);

-- name: cancel_children :one
-- End or ask to end runs whose parents have ended or given them up, one level. Locks: those rows, SKIP LOCKED.
SELECT zart_cancel_children_v1(%(limit)s);
