"""The door for Zart's own packages: the parts of the engine that a store, a worker, a command line and an API need.

Users import from `zart_core`; nothing here is a promise to them.
"""

from __future__ import annotations

from zart_core.answers import Cancelled, Delivered, Started, cancelled, existed, receipt, result_of
from zart_core.arguments import input_hash, wrap_input
from zart_core.canonical import canonical_json
from zart_core.codec import MISSING, Codec, check_size
from zart_core.conclusion import broken
from zart_core.control import DeadlinePassed, LeaseLost, RunCancelled
from zart_core.crashpoints import reach
from zart_core.details import ExecutionRows, execution_details, execution_tree
from zart_core.divergence import load as load_divergence
from zart_core.duration import Duration, format_seconds, parse_size, seconds
from zart_core.executor import TURN_BITS, ActiveRun
from zart_core.faults import failure, record
from zart_core.handlers import Phase
from zart_core.host import ClaimedRun, ClaimedStep, Held, Host, Left, StepTransaction
from zart_core.identity import Identity, check_name
from zart_core.items import (
    AttemptItem,
    BlockItem,
    CancelItem,
    ChildItem,
    CollectItem,
    ContinueItem,
    DelayItem,
    EndItem,
    FinishItem,
    Item,
    LeavingItem,
    LockedItem,
    OutcomeItem,
    ParkItem,
    RecordItem,
    ReleaseItem,
    RevokeItem,
    SpawnItem,
    WaitItem,
)
from zart_core.journal import AttemptRecord, Kind, Outcome, Record
from zart_core.limits import aware, check_id, check_reason, check_tags, check_word
from zart_core.listing import ListOptions, list_request, page_of
from zart_core.naming import matches, shortest
from zart_core.requests import (
    PlainOptions,
    StartRequest,
    invocation_of,
    named_arguments,
    new_run_id,
    start_request,
)
from zart_core.rows import (
    AttemptRow,
    ChildRow,
    Ending,
    EventRow,
    RunFilter,
    RunRow,
    SpawnedRow,
    StepRow,
    WaitRow,
)
from zart_core.spawned import SpawnedStep
from zart_core.spawning import Task
from zart_core.untyped import encode_plain, plain

__all__ = [
    "MISSING",
    "TURN_BITS",
    "ActiveRun",
    "AttemptItem",
    "AttemptRecord",
    "AttemptRow",
    "BlockItem",
    "CancelItem",
    "Cancelled",
    "ChildItem",
    "ChildRow",
    "ClaimedRun",
    "ClaimedStep",
    "Codec",
    "CollectItem",
    "ContinueItem",
    "DeadlinePassed",
    "DelayItem",
    "Delivered",
    "Duration",
    "EndItem",
    "Ending",
    "EventRow",
    "ExecutionRows",
    "FinishItem",
    "Held",
    "Host",
    "Identity",
    "Item",
    "Kind",
    "LeaseLost",
    "LeavingItem",
    "Left",
    "ListOptions",
    "LockedItem",
    "Outcome",
    "OutcomeItem",
    "ParkItem",
    "Phase",
    "PlainOptions",
    "Record",
    "RecordItem",
    "ReleaseItem",
    "RevokeItem",
    "RunCancelled",
    "RunFilter",
    "RunRow",
    "SpawnItem",
    "SpawnedRow",
    "SpawnedStep",
    "StartRequest",
    "Started",
    "StepRow",
    "StepTransaction",
    "Task",
    "WaitItem",
    "WaitRow",
    "aware",
    "broken",
    "cancelled",
    "canonical_json",
    "check_id",
    "check_name",
    "check_reason",
    "check_size",
    "check_tags",
    "check_word",
    "encode_plain",
    "execution_details",
    "execution_tree",
    "existed",
    "failure",
    "format_seconds",
    "input_hash",
    "invocation_of",
    "list_request",
    "load_divergence",
    "matches",
    "named_arguments",
    "new_run_id",
    "page_of",
    "parse_size",
    "plain",
    "reach",
    "receipt",
    "record",
    "result_of",
    "seconds",
    "shortest",
    "start_request",
    "wrap_input",
]
