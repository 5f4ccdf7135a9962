"""How a worker is set up."""

from __future__ import annotations

from dataclasses import dataclass, field

from zart_core.errors import ConfigurationError
from zart_core.spi import Duration, parse_size, seconds

MIN_LEASE = 1.0
"""Shortest lease in seconds: a renewal needs its round trips."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Settings of one worker. Durations are seconds, `timedelta` or text; sizes are bytes or text.

    Args:
        queues: The queues it takes work from.
        concurrency: Most runs that are active at once; parked runs do not count.
        lease: How long the worker may write without renewing; it is taken for dead after that. At least 1 s.
        poll_interval: How often it looks for work when no hint comes.
        drain_timeout: How long a graceful stop waits for running steps.
        max_parked: Most parked bodies kept in memory as a cache; 0 evicts at every wait.
        threads: Size of the pool in which sync steps run.
        connections: Most database connections, beside three of its own, but two at least; all but three of them, or
            one, are for steps that use `transaction()`.
        max_payload: Largest stored value.
        name: What people see of it; host and process id by default.
    """

    queues: tuple[str, ...] = ("default",)
    concurrency: int = 100
    lease: Duration = "15s"
    poll_interval: Duration = "1s"
    drain_timeout: Duration = "30s"
    max_parked: int = 1000
    threads: int = 32
    connections: int = 10
    max_payload: int | str = "16MiB"
    name: str | None = None
    lease_seconds: float = field(init=False, repr=False)
    poll_seconds: float = field(init=False, repr=False)
    drain_seconds: float = field(init=False, repr=False)
    step_connections: int = field(init=False, repr=False)
    max_payload_bytes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.queues, str) or not self.queues:  # type: ignore[unreachable] # callers without a type checker
            raise ConfigurationError(f"queues takes a tuple of at least one name, not {self.queues!r}")
        for option, least in (("concurrency", 1), ("max_parked", 0), ("threads", 1), ("connections", 1)):
            value = getattr(self, option)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigurationError(
                    f"{option} must be a whole number of at least {least}, not {value!r}"
                )
        lease = seconds(self.lease, what="lease")
        if lease < MIN_LEASE:
            raise ConfigurationError(f"the lease must be at least {MIN_LEASE:g} s, not {self.lease!r}")
        poll = seconds(self.poll_interval, what="poll_interval")
        if poll <= 0:
            raise ConfigurationError(f"poll_interval must be longer than zero, not {self.poll_interval!r}")
        size = self.max_payload if isinstance(self.max_payload, int) else parse_size(self.max_payload)
        object.__setattr__(self, "lease_seconds", lease)
        object.__setattr__(self, "poll_seconds", poll)
        object.__setattr__(self, "drain_seconds", max(seconds(self.drain_timeout, what="drain_timeout"), 0.0))
        object.__setattr__(self, "max_payload_bytes", size)
        object.__setattr__(self, "step_connections", max(self.connections - 3, 1))
        object.__setattr__(self, "queues", tuple(self.queues))
