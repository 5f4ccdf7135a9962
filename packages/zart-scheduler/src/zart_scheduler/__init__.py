"""Client, worker and PostgreSQL store of Zart, with its migrations and an embedded PostgreSQL."""

from __future__ import annotations

from zart_scheduler.checking import InputInvalid
from zart_scheduler.client import Client
from zart_scheduler.config import WorkerConfig
from zart_scheduler.handle import Handle
from zart_scheduler.invocation import call
from zart_scheduler.migrate import check_schema, migrate
from zart_scheduler.store.workflows import RegisteredWorkflow
from zart_scheduler.sync import SyncClient, SyncHandle
from zart_scheduler.worker import Worker

__all__ = [
    "Client",
    "Handle",
    "InputInvalid",
    "RegisteredWorkflow",
    "SyncClient",
    "SyncHandle",
    "Worker",
    "WorkerConfig",
    "call",
    "check_schema",
    "migrate",
]
