"""The door for Zart's own packages: the parts of the engine that a store, a worker, a command line and an API need.

Users import from `zart_core`; nothing here is a promise to them.
"""

from __future__ import annotations

from zart_core.arguments import input_hash, wrap_input
from zart_core.canonical import canonical_json
from zart_core.codec import MISSING, Codec, check_size
from zart_core.conclusion import broken
from zart_core.control import DeadlinePassed, LeaseLost, RunCancelled
from zart_core.crashpoints import reach
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
from zart_core.naming import matches, shortest
from zart_core.spawned import SpawnedStep
from zart_core.spawning import Task
from zart_core.untyped import encode_plain

__all__ = [
    "MISSING",
    "TURN_BITS",
    "ActiveRun",
    "AttemptItem",
    "AttemptRecord",
    "BlockItem",
    "CancelItem",
    "ChildItem",
    "ClaimedRun",
    "ClaimedStep",
    "Codec",
    "CollectItem",
    "ContinueItem",
    "DeadlinePassed",
    "DelayItem",
    "Duration",
    "EndItem",
    "FinishItem",
    "Held",
    "Host",
    "Identity",
    "Item",
    "Kind",
    "LeaseLost",
    "LeavingItem",
    "Left",
    "LockedItem",
    "Outcome",
    "OutcomeItem",
    "ParkItem",
    "Phase",
    "Record",
    "RecordItem",
    "ReleaseItem",
    "RevokeItem",
    "RunCancelled",
    "SpawnItem",
    "SpawnedStep",
    "StepTransaction",
    "Task",
    "WaitItem",
    "broken",
    "canonical_json",
    "check_name",
    "check_size",
    "encode_plain",
    "failure",
    "format_seconds",
    "input_hash",
    "load_divergence",
    "matches",
    "parse_size",
    "reach",
    "record",
    "seconds",
    "shortest",
    "wrap_input",
]
