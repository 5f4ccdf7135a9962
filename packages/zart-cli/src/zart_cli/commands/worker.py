"""`zart worker`: run a worker until it is told to stop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from zart_cli import sources, target
from zart_cli.options import ModulesArg, parse_duration
from zart_cli.readyfile import ready_file
from zart_cli.verbs import verb

ConcurrencyOpt = Annotated[
    int,
    typer.Option(
        "-c",
        "--concurrency",
        min=1,
        envvar="ZART_WORKER_CONCURRENCY",
        help="Most runs active at once.",
        show_envvar=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    examples = (
        "zart worker my_workflows",
        "zart worker flows/orders.py -q default -q slow -c 20 --ready-file /tmp/ready",
    )
    verb(app, panel="Serve", examples=examples)(worker)


def worker(
    modules: ModulesArg,
    queue: Annotated[
        list[str],
        typer.Option(
            "-q", "--queue", envvar="ZART_WORKER_QUEUE", help="Take work from this queue; may be repeated."
        ),
    ] = ["default"],  # noqa: B006 - typer shows it, nobody changes it
    concurrency: ConcurrencyOpt = 100,
    lease: Annotated[
        float,
        typer.Option(
            "--lease",
            metavar="DURATION",
            parser=parse_duration,
            envvar="ZART_WORKER_LEASE",
            help="Taken for dead after so long without a sign of life; at least 1s.",
        ),
    ] = "15s",  # type: ignore[assignment] # parsed by typer
    poll_interval: Annotated[
        float,
        typer.Option(
            "--poll-interval",
            metavar="DURATION",
            parser=parse_duration,
            envvar="ZART_WORKER_POLL_INTERVAL",
            help="How often to look for work when no hint comes.",
        ),
    ] = "1s",  # type: ignore[assignment] # parsed by typer
    drain_timeout: Annotated[
        float,
        typer.Option(
            "--drain-timeout",
            metavar="DURATION",
            parser=parse_duration,
            envvar="ZART_WORKER_DRAIN_TIMEOUT",
            help="How long a stop waits for running steps.",
        ),
    ] = "30s",  # type: ignore[assignment] # parsed by typer
    max_parked: Annotated[
        int,
        typer.Option(
            "--max-parked",
            min=0,
            envvar="ZART_WORKER_MAX_PARKED",
            help="Most waiting bodies kept in memory as a cache.",
        ),
    ] = 1000,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            envvar="ZART_WORKER_NAME",
            help="What people see of it.",
            show_default="host and process id",
        ),
    ] = None,
    ready: Annotated[
        Path | None,
        typer.Option(
            "--ready-file",
            metavar="PATH",
            envvar="ZART_WORKER_READY_FILE",
            help="Exists while the worker is ready.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a worker. It waits for the database, and stops in good order on SIGTERM or Ctrl-C.

    Every option can be set in the environment too: ZART_WORKER_CONCURRENCY=20, ZART_WORKER_LEASE=30s and so on;
    ZART_LOG_FORMAT=json writes the log for machines.
    """
    from zart_cli import logs
    from zart_cli.working import work
    from zart_scheduler import WorkerConfig

    logs.configure()
    config = WorkerConfig(
        queues=tuple(queue),
        concurrency=concurrency,
        lease=lease,
        poll_interval=poll_interval,
        drain_timeout=drain_timeout,
        max_parked=max_parked,
        name=name,
    )
    loaded = sources.load(modules)
    url = target.database_url()
    with ready_file(ready) as file:
        asyncio.run(work(url, loaded, config, file))
