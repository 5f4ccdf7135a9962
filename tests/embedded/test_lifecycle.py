from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from zart_scheduler import embedded


def _started_at(conninfo: str) -> object:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT pg_postmaster_start_time()").fetchone()
    assert row is not None
    return row[0]


def test_the_first_user_starts_the_server_and_the_next_attaches(place: Path) -> None:
    first = embedded.start(place)
    second = embedded.start(f"embedded:{place}")
    assert first == second
    assert first.directory == place
    with psycopg.connect(first.conninfo) as connection:
        assert connection.info.dbname == "zart"
        assert connection.info.parameter_status("server_version") == first.version


def test_what_was_committed_is_there_after_stop_and_start(place: Path) -> None:
    server = embedded.start(place)
    with psycopg.connect(server.conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    assert server.stop()
    with psycopg.connect(embedded.start(place).conninfo) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def test_status_tells_absent_running_and_stopped_apart(place: Path) -> None:
    assert embedded.status(place).state == "absent"
    server = embedded.start(place)
    running = embedded.status(place)
    assert (running.state, running.conninfo, running.version) == ("running", server.conninfo, server.version)
    assert running.pid is not None
    os.kill(running.pid, 0)
    server.stop()
    assert embedded.status(place) == embedded.EmbeddedStatus("stopped", place)


def test_stopping_twice_or_what_never_ran_is_harmless(place: Path) -> None:
    assert embedded.stop(place) is False
    server = embedded.start(place)
    assert [server.stop(), server.stop()] == [True, False]


def test_resolve_starts_embedded_urls_and_leaves_others_alone(place: Path) -> None:
    assert embedded.resolve("postgresql://u:p@h/db") == "postgresql://u:p@h/db"
    assert embedded.resolve("host=h dbname=db") == "host=h dbname=db"
    assert embedded.resolve(f"embedded:{place}") == embedded.start(place).conninfo


def test_embedded_without_a_directory_means_the_state_directory(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_STATE_DIR", str(place))
    assert embedded.resolve("embedded:") == embedded.start(place).conninfo


def test_two_users_in_one_process_share_one_server(place: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        urls = set(threads.map(lambda _: embedded.start(place).conninfo, range(4)))
    assert len(urls) == 1


def test_it_listens_on_a_private_socket_only_and_is_durable(place: Path) -> None:
    server = embedded.start(place)
    with psycopg.connect(server.conninfo) as connection:
        settings: dict[str, str] = dict(
            connection.execute("SELECT name, setting FROM pg_settings").fetchall()
        )
    assert settings["listen_addresses"] == ""
    assert {settings["fsync"], settings["synchronous_commit"], settings["full_page_writes"]} == {"on"}
    assert settings["jit"] == "off"
    assert (place / "run").stat().st_mode & 0o777 == 0o700


def test_the_clients_environment_does_not_redirect_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PGPORT": "6000",
        "PGHOST": "nowhere",
        "PGDATABASE": "other",
        "PGDATA": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    server = embedded.start(place)
    with psycopg.connect(server.conninfo) as connection:
        assert connection.info.dbname == "zart"


def test_a_path_too_long_for_a_socket_or_with_awkward_characters_works(place: Path) -> None:
    deep = place / ("d" * 60) / 'it\'s a "$HOME", yes' / ("e" * 60)
    server = embedded.start(deep)
    assert server.directory == deep
    assert embedded.start(deep) == server
    assert _started_at(server.conninfo) == _started_at(embedded.start(deep).conninfo)
    assert server.stop()


def test_non_ascii_text_is_stored_and_folded(place: Path) -> None:
    with psycopg.connect(embedded.start(place).conninfo) as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SELECT 'ÄÖ' ILIKE 'äö'").fetchone() == (True,)
