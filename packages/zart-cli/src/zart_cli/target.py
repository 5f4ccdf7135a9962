"""Which database a command talks to, and how its URL is shown: never with the password."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeGuard
from urllib.parse import unquote

from zart_cli import settings
from zart_core.errors import ConfigurationError

EMBEDDED: Final = "embedded:"
DEFAULT_CONNECT_TIMEOUT: Final = 5.0

_WITH_PASSWORD = re.compile(
    r"(?P<start>[a-z][a-z0-9+.-]*://[^:/?#@\s]*):(?P<password>[^/?#\s]*)@", re.IGNORECASE
)
_PASSWORD_SETTING = re.compile(
    r"(?P<start>password\s*=\s*)(?P<password>'(?:[^'\\]|\\.)*'|[^\s&'\"]+)", re.IGNORECASE
)
_PORTS = re.compile(r"[0-9,]*")
_SHORTEST_SECRET = 6


def database_url() -> str:
    """Return the URL that was chosen, as it was written.

    Raises:
        ConfigurationError: None was, or it is none of PostgreSQL's.
    """
    url = configured_url()
    if url is None:
        raise ConfigurationError(
            "no database was given: pass --database-url, set ZART_DATABASE_URL or DATABASE_URL, or write database-url "
            "under [tool.zart] in pyproject.toml (embedded: is a PostgreSQL of your own, nothing to install)"
        )
    return url


def configured_url() -> str | None:
    """Return the first of --database-url, ZART_DATABASE_URL, DATABASE_URL and [tool.zart], checked; else None."""
    for origin, url in _candidates():
        if url:
            _check(origin, url)
            return url
    return None


def libpq_url(url: str) -> str:
    """Return what libpq can connect to within --connect-timeout; starts the embedded server if `url` means it."""
    from psycopg.conninfo import make_conninfo

    if is_embedded(url):
        from zart_scheduler import embedded

        url = embedded.resolve(EMBEDDED if url == EMBEDDED.rstrip(":") else url)
    parts = _parse(url)
    own = parts.pop("connect_timeout", None)
    chosen = settings.current().connect_timeout
    seconds = chosen if chosen is not None else float(own or DEFAULT_CONNECT_TIMEOUT)
    return make_conninfo(**parts, connect_timeout=max(1, math.ceil(seconds)))  # libpq counts whole seconds


def is_embedded(url: str | None) -> TypeGuard[str]:
    """Return whether `url` means the embedded server."""
    return url is not None and (url.startswith(EMBEDDED) or url == EMBEDDED.rstrip(":"))


def describe(url: str) -> str:
    """Return where `url` leads to, for people: host, port and database."""
    if is_embedded(url):
        return url
    parts = _parse(url)
    host, port = parts.get("host") or parts.get("hostaddr") or "localhost", parts.get("port")
    return f"{host}{f':{port}' if port else ''}/{parts.get('dbname') or parts.get('user') or ''}"


def without_passwords(text: str) -> str:
    """Return `text` with every password of a URL or of the chosen database replaced by `***`."""
    text = _WITH_PASSWORD.sub(r"\g<start>:***@", text)
    text = _PASSWORD_SETTING.sub(r"\g<start>***", text)
    for secret in _secrets():
        text = text.replace(secret, "***")
    return text


def _candidates() -> Iterator[tuple[str, str | None]]:
    yield "--database-url", settings.current().database_url
    for name in ("ZART_DATABASE_URL", "DATABASE_URL"):
        yield name, os.environ.get(name)
    yield from _from_pyproject(Path.cwd())


def _from_pyproject(directory: Path) -> Iterator[tuple[str, str | None]]:
    """Look in the nearest pyproject.toml that has [tool.zart]."""
    for folder in (directory, *directory.parents):
        path = folder / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("zart")
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot read {path}: {error}") from None
        if isinstance(table, dict):
            yield f"database-url of [tool.zart] in {path}", table.get("database-url")
            return


def _check(origin: str, url: object) -> None:
    if not isinstance(url, str):
        raise ConfigurationError(f'{origin} must be a text such as "postgresql://user@host/database"')
    if is_embedded(url):
        return
    match = _WITH_PASSWORD.match(url)
    if match and "@" in match["password"]:
        raise ConfigurationError(f"{origin} has an '@' in its password: write it as %40")
    import psycopg

    try:
        if _PORTS.fullmatch(str(_parse(url).get("port") or "")):
            return
    except psycopg.Error:
        pass
    raise ConfigurationError(
        f"{origin} is not a PostgreSQL URL: write postgresql://user:password@host:5432/database, with special "
        f"characters of the password as %XX, or embedded:"
    )


def _parse(url: str) -> dict[str, Any]:
    from psycopg.conninfo import conninfo_to_dict

    # SQLAlchemy's URLs name a driver.
    return dict(conninfo_to_dict(re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", url)))


def _secrets() -> list[str]:
    """Return passwords that must not be shown; one that is also a plain word of the URL cannot be told from it."""
    import psycopg

    found, words = {os.environ.get("PGPASSWORD", "")}, set[str]()
    for url in (
        settings.current().database_url,
        os.environ.get("ZART_DATABASE_URL"),
        os.environ.get("DATABASE_URL"),
    ):
        if not url or is_embedded(url):
            continue
        for pattern in (_WITH_PASSWORD, _PASSWORD_SETTING):
            if match := pattern.search(url):
                found |= {match["password"], unquote(match["password"])}
        with suppress(psycopg.Error):
            words |= {str(value) for name, value in _parse(url).items() if name != "password"}
    return sorted((s for s in found - words if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)
