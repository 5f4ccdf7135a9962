"""`zart db`: the embedded PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zart_cli import output, target
from zart_cli.reporting import say
from zart_cli.verbs import noun, verb
from zart_core.errors import ConfigurationError

if TYPE_CHECKING:
    from zart_scheduler.embedded import EmbeddedStatus

group = noun("db", "See, reach and stop the embedded PostgreSQL.")


@verb(group, examples=("zart db status", "zart --database-url embedded:/srv/zart db status"))
def status() -> None:
    """Tell whether the embedded server runs, and where it keeps its data. Starts nothing."""
    from zart_scheduler import embedded

    url = target.configured_url()
    if url is not None and not target.is_embedded(url):
        say(f"commands use the database at {target.describe(url)} and leave the embedded server alone")
    found = embedded.status(url if target.is_embedded(url) else None)
    output.show_one(found, _tell, lambda record: record.state)


@verb(group, examples=('psql "$(zart db url)"',))
def url() -> None:
    """Print a URL that psql and other programs can connect to; starts the server if it is not up."""
    from zart_scheduler import embedded

    server = embedded.start(_embedded_url())
    output.show_one(
        server, lambda record: output.write(f"{record.conninfo}\n"), lambda record: record.conninfo
    )


@verb(group)
def stop() -> None:
    """Stop the embedded server, for all who use it. What is committed is safe; the next command starts it again."""
    from zart_scheduler import embedded

    url = _embedded_url()
    stopped = embedded.stop(url)
    say("stopped" if stopped else "it was not running")


def _embedded_url() -> str:
    """Return which embedded server is meant.

    Raises:
        ConfigurationError: Another database was chosen.
    """
    url = target.configured_url()
    if url is None or target.is_embedded(url):
        return url or target.EMBEDDED
    raise ConfigurationError(
        f"the database at {target.describe(url)} was chosen, which is not the embedded server: "
        f"add --database-url embedded: if that one is meant"
    )


def _tell(found: EmbeddedStatus) -> None:
    facts = [("state", found.state), ("directory", str(found.directory)), ("url", found.conninfo)]
    facts += [("version", found.version), ("pid", None if found.pid is None else str(found.pid))]
    output.write("".join(f"{name:<10} {value}\n" for name, value in facts if value is not None))
    if found.state in {"stopped", "absent"}:
        say("it starts by itself with the first command that needs it")
