"""The interleavings can fail: with the protecting line taken out of its function, the test that guards it dies.

Chance does not find these: a stress run without the fence's lock shows nothing, a held lock shows it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

import psycopg
import pytest
from tests.sql.interleavings import test_broadcasts as broadcasts
from tests.sql.interleavings import test_children as children
from tests.sql.interleavings import test_events as events
from tests.sql.interleavings import test_fence as fence
from tests.sql.interleavings import test_life as life
from tests.sql.interleavings import test_spawns as spawns
from tests.sql.interleavings import test_transactions as transactions
from tests.sql.interleavings import test_turns as turns
from tests.sql.scene import Scene

LOCK = "PERFORM 1 FROM zart_workers WHERE worker_id = p_worker FOR KEY SHARE;"
LOOK = "WHERE worker_id = p_worker AND state <> 'dead' AND lease_expires_at > clock_timestamp()"


class Mutant(NamedTuple):
    name: str
    function: str
    old: str
    new: str
    killer: Callable[[Scene], None]


CHILDREN: list[tuple[str, str, str, str, Callable[[Scene, tuple[UUID, UUID]], None]]] = [
    (
        "a birth does not ask whether the parent is to be cancelled",
        "zart_bear_children_v1",
        "AND t.cancel_requested_at IS NULL",
        "",
        children.test_a_cancel_that_comes_first_lets_nothing_be_born,
    ),
    (
        "a birth does not look for a record",
        "zart_bear_children_v1",
        "AND NOT EXISTS (SELECT 1 FROM zart_steps s WHERE s.run_id = r.t AND s.ident = r.i OFFSET 0)",
        "",
        children.test_a_call_that_is_cancelled_in_the_flush_that_starts_it_starts_nothing,
    ),
    (
        "a birth does not need the parent's row",
        "zart_standing_v1",
        "WHEN p_task = ANY (p_held) THEN 'own'",
        "WHEN true THEN 'own'",
        children.test_a_birth_whose_parent_is_held_is_busy_and_nothing_waits,
    ),
    (
        "an end leaves its children alone",
        "zart_close_body_v1",
        "PERFORM zart_leave_children_v1(p_runs);",
        "",
        children.test_a_birth_beside_the_end_in_one_flush_is_found_by_the_end,
    ),
    (
        "the end of a body keeps what it has not seen of its children",
        "zart_return_unseen_v1",
        "s.kind IN ('w', 'k', 'p')",
        "s.kind = 'w'",
        children.test_a_child_of_a_body_that_has_failed_tells_its_handler_nothing,
    ),
    (
        "a child tells whatever follows the body that asked for it",
        "zart_tell_parent_v1",
        "AND t.phase = p_phase",
        "",
        children.test_a_child_of_a_body_that_has_failed_tells_its_handler_nothing,
    ),
    (
        "an end wakes its parent although that has given the child up",
        "zart_tell_parent_v1",
        "IF FOUND THEN",
        "IF true THEN",
        children.test_the_end_of_a_child_that_was_given_up_does_not_wake_its_parent,
    ),
    (
        "a cancel of a call leaves its child alone",
        "zart_flush_cancels_v1",
        "zart_give_child_up_v1(v_item.x)",
        "false",
        children.test_a_detached_child_whose_call_the_body_gives_up_is_cancelled,
    ),
    (
        "a held child blocks the way",
        "zart_cancel_children_v1",
        "UPDATE zart_cancellations SET cancellation_id = DEFAULT WHERE cancellation_id = ANY (v_rows);",
        "",
        children.test_a_child_whose_row_somebody_holds_is_cancelled_later_and_holds_up_nobody,
    ),
    (
        "cancelling waits for rows",
        "zart_cancel_children_v1",
        "ORDER BY t.task_id FOR UPDATE SKIP LOCKED",
        "ORDER BY t.task_id FOR UPDATE",
        children.test_a_child_whose_row_somebody_holds_is_cancelled_later_and_holds_up_nobody,
    ),
    (
        "a child that was handed to its handler is cancelled again",
        "zart_cancel_children_v1",
        "c.task_id = ANY (v_ended)",
        "false",
        children.test_a_child_that_is_handed_to_its_own_handler_is_cancelled_once,
    ),
]


def family(scene: Scene) -> tuple[UUID, UUID]:
    worker = scene.worker()
    return worker, scene.claimed_run(worker, tags={"team": "sky"})


MUTANTS = [
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        transactions.test_a_taker_waits_for_a_record_until_its_commit_and_finds_it_in_the_journal,
    ),
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        transactions.test_a_zombies_record_that_starts_while_its_worker_is_declared_dead_is_refused,
    ),
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        transactions.test_a_zombies_record_that_starts_while_its_run_is_being_stolen_is_refused,
    ),
    Mutant(
        "a refused record does not stop its commit",
        "zart_record_v1",
        "RAISE EXCEPTION 'the record is refused: %', v_verdict",
        "RAISE WARNING 'the record is refused: %', v_verdict",
        transactions.test_a_record_that_is_there_already_refuses_the_second,
    ),
    Mutant(
        "a step's own commit is not noticed",
        "zart_record_v1",
        "IS DISTINCT FROM p_xact",
        "IS NULL",
        transactions.test_a_transaction_that_the_step_has_ended_itself_takes_no_record,
    ),
    Mutant(
        "a frozen client keeps the fence",
        "zart_record_v1",
        "PERFORM set_config('idle_in_transaction_session_timeout', p_patience::text, true);",
        "",
        transactions.test_a_client_that_stands_still_behind_the_fence_loses_its_transaction,
    ),
    Mutant(
        "an open transaction is taken for one that is gone",
        "zart_fate_v1",
        "v_status = 'in progress'",
        "false",
        transactions.test_a_transaction_whose_fate_is_asked_for_cannot_commit_any_more_once_it_is_told,
    ),
    Mutant(
        "the steps of the dead keep their locks",
        "zart_mark_dead_v1",
        "PERFORM zart_end_transactions_of_v1(v_dead);",
        "",
        transactions.test_a_dead_workers_open_transactions_are_ended,
    ),
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        fence.test_a_taker_waits_for_a_record_in_flight_and_finds_it_in_the_journal,
    ),
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        fence.test_a_record_that_starts_while_its_run_is_being_stolen_is_lost,
    ),
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        fence.test_a_record_that_starts_while_its_worker_is_declared_dead_is_fenced,
    ),
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        fence.test_a_claim_that_starts_while_its_worker_is_declared_dead_gets_nothing,
    ),
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        turns.test_a_collect_that_starts_while_its_worker_is_taken_is_fenced,
    ),
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        turns.test_a_collect_before_the_taker_keeps_its_turn_which_is_below_the_next_claims,
    ),
    Mutant(
        "the fence does not lock",
        "zart_fence_v1",
        LOCK,
        "",
        turns.test_a_stolen_run_takes_neither_steps_nor_turns_from_its_former_owner,
    ),
    Mutant(
        "the fence shuts out the heartbeat",
        "zart_fence_v1",
        "FOR KEY SHARE",
        "FOR SHARE",
        fence.test_the_workers_own_heartbeat_passes_a_flush_that_hangs,
    ),
    Mutant(
        "the fence looks before it locks",
        "zart_fence_v1",
        LOCK,
        f"PERFORM 1 FROM zart_workers {LOOK} FOR KEY SHARE; RETURN FOUND;",
        fence.test_a_lease_that_ends_while_the_fence_waits_is_over,
    ),
    Mutant(
        "the fence reads the clock of its start",
        "zart_fence_v1",
        "clock_timestamp()",
        "now()",
        fence.test_a_lease_that_ends_while_the_fence_waits_is_over,
    ),
    Mutant(
        "the sweeper marks without a lock",
        "zart_mark_dead_v1",
        "FOR UPDATE SKIP LOCKED",
        "",
        fence.test_the_sweeper_skips_a_worker_whose_record_is_in_flight,
    ),
    Mutant(
        "the flush waits for task rows",
        "zart_hold_tasks_v1",
        "SKIP LOCKED",
        "",
        turns.test_a_users_open_transaction_holds_up_neither_steps_nor_sleeps_nor_other_runs,
    ),
    Mutant(
        "the flush waits for task rows",
        "zart_hold_tasks_v1",
        "SKIP LOCKED",
        "",
        turns.test_a_cancel_of_a_wait_does_not_wait_for_its_open_event_and_later_frees_it,
    ),
    Mutant(
        "the flush waits for task rows",
        "zart_hold_tasks_v1",
        "SKIP LOCKED",
        "",
        turns.test_a_collect_does_not_wait_for_an_open_delivery_and_a_later_one_takes_it,
    ),
    Mutant(
        "the flush does not lock task rows",
        "zart_hold_tasks_v1",
        "FOR UPDATE SKIP LOCKED",
        "",
        events.test_a_wait_registered_while_a_delivery_is_open_is_not_done_and_then_finds_the_event,
    ),
    Mutant(
        "the flush does not lock task rows",
        "zart_hold_tasks_v1",
        "FOR UPDATE SKIP LOCKED",
        "",
        turns.test_a_run_does_not_park_while_its_outcome_comes_has_come_or_has_a_turn_it_never_saw,
    ),
    Mutant(
        "a busy cancel is done",
        "zart_flush_cancels_v1",
        "v_standing <> 'own'",
        "v_standing NOT IN ('own', 'busy')",
        turns.test_a_cancel_of_a_wait_does_not_wait_for_its_open_event_and_later_frees_it,
    ),
    Mutant(
        "a delivery does not lock the task",
        "zart_deliver_v1",
        "FOR UPDATE",
        "",
        events.test_a_delivery_that_meets_an_open_registration_waits_for_it_and_wakes_the_run,
    ),
    Mutant(
        "a delivery does not lock the task",
        "zart_deliver_v1",
        "FOR UPDATE",
        "",
        events.test_two_deliveries_to_one_wait_are_consumed_once,
    ),
    Mutant(
        "a delivery does not lock the task",
        "zart_deliver_v1",
        "FOR UPDATE",
        "",
        events.test_a_delivery_that_meets_an_open_end_finds_the_run_ended,
    ),
    Mutant(
        "a delivery takes any snapshot",
        "zart_deliver_v1",
        "PERFORM zart_require_read_committed_v1();",
        "",
        lambda scene: events.test_a_sender_whose_snapshot_would_miss_a_new_wait_is_refused(
            scene, "REPEATABLE READ"
        ),
    ),
    Mutant(
        "a delivery meets a wait past its deadline",
        "zart_meet_wait_v1",
        "AND (deadline IS NULL OR deadline > clock_timestamp())",
        "",
        events.test_a_wait_past_its_deadline_is_closed_also_before_its_timeout_is_recorded,
    ),
    Mutant(
        "a timer waits for a delivery",
        "zart_fire_due_v1",
        "SKIP LOCKED",
        "",
        events.test_a_delivery_recorded_first_makes_the_timer_pass,
    ),
    Mutant(
        "a park does not count",
        "zart_flush_parks_v1",
        "NOT v_item.come AND ",
        "",
        turns.test_a_run_does_not_park_while_its_outcome_comes_has_come_or_has_a_turn_it_never_saw,
    ),
    Mutant(
        "a park does not count",
        "zart_flush_parks_v1",
        "NOT v_item.come AND ",
        "",
        events.test_a_registration_that_starts_while_its_row_was_held_looks_after_the_lock,
    ),
    Mutant(
        "a park counts a sleep before it is due",
        "zart_flush_parks_v1",
        "s.wake_at <= clock_timestamp()",
        "true",
        turns.test_a_run_parks_on_a_sleep_until_it_is_due,
    ),
    Mutant(
        "a park does not count a sleep that is due",
        "zart_flush_parks_v1",
        "OR s.wake_at <= clock_timestamp()",
        "",
        turns.test_a_run_does_not_park_on_a_sleep_that_is_due,
    ),
    Mutant(
        "a collect sent again forgets what it gave",
        "zart_flush_collects_v1",
        "IF p_resend THEN",
        "IF false THEN",
        turns.test_a_collect_sent_again_tells_what_it_gave_before_and_what_came_since,
    ),
    Mutant(
        "a collect takes a sleep before it is due",
        "zart_flush_collects_v1",
        "s.wake_at <= clock_timestamp()",
        "true",
        turns.test_a_collect_takes_a_sleep_only_when_it_is_due_and_says_when_that_is,
    ),
    Mutant(
        "a collect records timeouts without the row",
        "zart_flush_collects_v1",
        "IF v_standing = 'own' THEN",
        "IF true THEN",
        turns.test_a_collect_leaves_a_timeout_alone_whose_wait_an_open_delivery_has_met,
    ),
    Mutant(
        "a resend overtakes its first try",
        "zart_flush_v1",
        "IF p_resend THEN",
        "IF false THEN",
        turns.test_a_resend_waits_until_its_first_try_is_decided,
    ),
    Mutant(
        "a recorded wait is not answered",
        "zart_flush_waits_v1",
        "IF FOUND THEN",
        "IF false THEN",
        turns.test_a_wait_met_in_its_own_flush_is_answered_the_same_when_sent_again,
    ),
    Mutant(
        "a freed event is not handed on",
        "zart_give_back_v1",
        "v_heir := zart_meet_wait_v1(p_run, v_event.name, NULL, v_event.payload);",
        "",
        turns.test_the_event_of_a_cancelled_wait_goes_to_the_oldest_open_wait_of_its_name,
    ),
    Mutant(
        "a cancel gives a new turn",
        "zart_flush_cancels_v1",
        "coalesce(s.turn, excluded.turn)",
        "excluded.turn",
        turns.test_a_wait_that_was_delivered_and_then_cancelled_keeps_its_turn,
    ),
    Mutant(
        "an end keeps what no body has seen",
        "zart_return_unseen_v1",
        "s.turn IS NULL",
        "false",
        events.test_an_event_that_no_body_has_seen_outlives_its_run,
    ),
    Mutant(
        "an end keeps what no body has seen",
        "zart_return_unseen_v1",
        "s.turn IS NULL",
        "false",
        events.test_a_cancel_that_meets_an_open_delivery_gives_the_event_back,
    ),
    Mutant(
        "an owner's undelivered events keep their turn",
        "zart_flush_ends_v1",
        "r.t = ANY (v_runs) AND r.unseen IS NOT NULL",
        "false",
        events.test_an_event_with_a_turn_that_the_owner_has_not_delivered_returns_at_its_end,
    ),
    Mutant(
        "what may have been seen returns",
        "zart_return_unseen_v1",
        "s.turn IS NULL AND ",
        "",
        events.test_an_event_with_a_turn_stays_consumed_when_another_than_the_owner_ends_the_run,
    ),
    Mutant(
        "a delivery looks for its run once",
        "zart_deliver_v1",
        "EXIT WHEN v_open OR v_tried = v_run;",
        "EXIT;",
        events.test_a_delivery_that_meets_an_open_restart_goes_to_the_new_run,
    ),
    Mutant(
        "a place is given without the topic",
        "zart_place_broadcast_v1",
        "PERFORM pg_advisory_xact_lock(2053206644, get_byte(v_topic, 0));",
        "",
        broadcasts.test_a_broadcast_that_meets_an_open_registration_waits_for_it_and_then_finds_the_wait,
    ),
    Mutant(
        "a place is given without the topic",
        "zart_place_broadcast_v1",
        "PERFORM pg_advisory_xact_lock(2053206644, get_byte(v_topic, 0));",
        "",
        lambda scene: (
            broadcasts.test_a_registration_while_a_broadcast_gets_its_place_is_not_held_up_and_looks_again(
                scene, broadcasts.FOREVER
            )
        ),
    ),
    Mutant(
        "a registration does not look again",
        "zart_await_event_v1",
        "RETURN v_certain;",
        "RETURN true;",
        lambda scene: (
            broadcasts.test_a_registration_while_a_broadcast_gets_its_place_is_not_held_up_and_looks_again(
                scene, broadcasts.FOREVER
            )
        ),
    ),
    Mutant(
        "a sender holds the topic while it waits",
        "zart_broadcast_v1",
        "PERFORM zart_require_read_committed_v1();",
        "PERFORM pg_advisory_xact_lock(2053206644, get_byte(v_topic, 0));",
        broadcasts.test_who_waits_for_another_sender_of_its_key_holds_up_no_registration,
    ),
    Mutant(
        "a broadcast meets waits that came after it",
        "zart_meet_broadcast_v1",
        "w.born < v_event.place",
        "true",
        broadcasts.test_a_broadcast_that_was_committed_before_a_wait_does_not_meet_it,
    ),
    Mutant(
        "a timeout does not look for broadcasts",
        "zart_expire_waits_v1",
        "AND topic IS NOT NULL",
        "AND false",
        lambda scene: broadcasts.test_a_timeout_does_not_take_what_was_accepted_before_it(scene, alone=True),
    ),
    Mutant(
        "an event overtakes an unmet broadcast",
        "zart_deliver_v1",
        "PERFORM zart_meet_pending_v1(v_run, p_name);",
        "",
        broadcasts.test_an_event_that_comes_while_a_broadcast_is_unmet_does_not_overtake_it,
    ),
    Mutant(
        "a broadcast overtakes another",
        "zart_meet_broadcast_v1",
        "PERFORM zart_meet_in_order_v1(v_runs, v_event.topic, v_event.place);",
        "PERFORM zart_meet_waits_v1(v_runs, p_event);",
        broadcasts.test_a_later_broadcast_does_not_overtake_an_earlier_one_that_is_unmet,
    ),
    Mutant(
        "a meeting waits for task rows",
        "zart_meet_broadcast_v1",
        "SKIP LOCKED",
        "",
        broadcasts.test_a_sweep_passes_over_a_run_whose_timeout_is_being_recorded,
    ),
    Mutant(
        "a meeting does not lock task rows",
        "zart_meet_broadcast_v1",
        "FOR UPDATE SKIP LOCKED",
        "",
        broadcasts.test_a_cancel_before_a_meeting_leaves_nothing_to_meet,
    ),
    Mutant(
        "a retained broadcast is taken again and again",
        "zart_find_broadcast_v1",
        "u.event_id = b.event_id AND u.execution_id = p_execution_id",
        "false",
        broadcasts.test_a_retained_broadcast_is_taken_once_by_each_execution_while_it_lasts,
    ),
    Mutant(
        "what another wait has comes back",
        "zart_free_use_v1",
        "use_id <> v_use.use_id",
        "false",
        broadcasts.test_a_broadcast_that_one_body_has_seen_does_not_return_at_the_end,
    ),
    Mutant(
        "a claim waits for task rows",
        "zart_choose_ready_v1",
        "SKIP LOCKED",
        "",
        turns.test_a_claim_passes_over_a_run_with_an_open_delivery_and_takes_the_others,
    ),
    Mutant(
        "a claim gives no turns",
        "zart_claim_v1",
        "PERFORM zart_take_over_journals_v1(v_tasks, p_claim);",
        "",
        turns.test_a_claim_passes_over_a_run_with_an_open_delivery_and_takes_the_others,
    ),
    Mutant(
        "a claim alone counts as progress",
        "zart_has_recorded_v1",
        "s.turn >",
        "s.turn >=",
        lambda scene: turns.test_a_death_counts_unless_the_run_recorded_something_since_its_claim(
            scene, recorded=False, crashes=1
        ),
    ),
    Mutant(
        "a spawn does not look for the record",
        "zart_flush_spawns_v1",
        "SELECT 1 FROM zart_steps s WHERE",
        "SELECT 1 FROM zart_steps s WHERE false AND",
        spawns.test_a_spawn_sent_again_while_the_steps_end_is_uncommitted_does_not_run_it_again,
    ),
    Mutant(
        "a spawn does not need the row",
        "zart_refuse_items_v1",
        "WHERE k.standing <> 'own'",
        "WHERE k.standing NOT IN ('own', 'busy')",
        spawns.test_a_spawn_sent_again_while_the_steps_end_is_uncommitted_does_not_run_it_again,
    ),
    Mutant(
        "an end does not need its run's row",
        "zart_finish_steps_v1",
        "zart_hold_parents_v1(p_tasks)",
        "p_tasks",
        spawns.test_a_park_under_way_makes_the_end_busy_and_the_next_try_wakes_the_run,
    ),
    Mutant(
        "an end does not wake its run",
        "zart_finish_steps_v1",
        "SET state = 'r'",
        "SET state = 'w'",
        spawns.test_a_park_under_way_makes_the_end_busy_and_the_next_try_wakes_the_run,
    ),
    Mutant(
        "a taker does not lock the owner",
        "zart_seize_v1",
        "PERFORM 1 FROM zart_workers WHERE worker_id = v_expected FOR UPDATE;",
        "",
        life.test_a_rerun_keeps_a_record_that_was_in_flight,
    ),
    Mutant(
        "a taker does not lock the owner",
        "zart_seize_v1",
        "PERFORM 1 FROM zart_workers WHERE worker_id = v_expected FOR UPDATE;",
        "",
        life.test_a_record_that_starts_while_its_run_is_being_restarted_is_lost,
    ),
    Mutant(
        "a taker waits while it holds the owner",
        "zart_seize_v1",
        "FOR UPDATE NOWAIT;\n      ELSE\n        PERFORM 1 FROM zart_tasks",
        "FOR UPDATE;\n      ELSE\n        PERFORM 1 FROM zart_tasks",
        life.test_a_restart_that_has_the_workers_row_does_not_wait_for_a_users_transaction,
    ),
    Mutant(
        "a taker trusts what it saw before the lock",
        "zart_seize_v1",
        "v_owner IS NULL OR v_owner = v_expected",
        "true",
        life.test_a_rerun_keeps_a_record_that_was_in_flight,
    ),
    Mutant(
        "a request is not looked for",
        "zart_restart_v1",
        "status IS NOT NULL",
        "false",
        life.test_one_request_sent_twice_at_once_is_carried_out_once,
    ),
    Mutant(
        "a start in a users transaction takes the run",
        "zart_seize_v1",
        "AND NOT p_owned",
        "AND false",
        life.test_a_start_that_restarts_inside_a_users_transaction_holds_up_no_worker,
    ),
    Mutant(
        "a continuation waits for the execution",
        "zart_hold_executions_v1",
        "SKIP LOCKED",
        "",
        life.test_a_continuation_does_not_wait_for_an_execution_that_a_user_holds,
    ),
    Mutant(
        "a retry does not lock the execution",
        "zart_retry_step_v1",
        "FOR UPDATE",
        "",
        life.test_of_two_retries_at_once_the_second_finds_the_run_open,
    ),
    *(
        Mutant(name, function, old, new, lambda scene, killer=killer: killer(scene, family(scene)))  # type: ignore[misc]
        for name, function, old, new, killer in CHILDREN
    ),
]


@pytest.mark.parametrize(
    "mutant", MUTANTS, ids=[f"{mutant.name}-{number}" for number, mutant in enumerate(MUTANTS)]
)
def test_an_interleaving_dies_without_the_line_that_guards_it(scene: Scene, mutant: Mutant) -> None:
    scene.mutate(mutant.function, mutant.old, mutant.new)

    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError, psycopg.Error)):
        mutant.killer(scene)
