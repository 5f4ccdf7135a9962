"""Migrations: any number at once, all or nothing, up and down, in any schema, and one sentence when it cannot be."""

from __future__ import annotations

import multiprocessing
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from tests.sql.catalog import catalog, names
from tests.sql.scene import Scene, end, step, verdicts
from tests.support.database import with_database

from zart_core.errors import ConfigurationError, SchemaOutOfDate, StoreError, StoreUnavailable
from zart_scheduler import upgrade
from zart_scheduler.database import conninfo
from zart_scheduler.migrate import check_schema, grant_app_role, migrate, print_sql


def works(url: str) -> None:
    """A run goes from its start to its end."""
    scene = Scene(url)
    try:
        worker = scene.worker()
        run = scene.claimed_run(worker)
        assert verdicts(scene.flush(worker, steps=[step(run, "a", 1)], ends=[end(run)])) == ["ended"]
        assert scene.run_state(run) == "completed"
    finally:
        scene.close()


def test_ten_processes_may_migrate_at_once(empty_database_url: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["zart_scheduler.upgrade"])
    processes = [context.Process(target=migrate, args=(empty_database_url,)) for _ in range(10)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 10
    finally:
        for process in processes:
            process.kill()

    check_schema(empty_database_url)
    works(empty_database_url)


def test_up_down_and_up_again_gives_the_same_schema(empty_database_url: str) -> None:
    migrate(empty_database_url)
    first = catalog(empty_database_url)

    migrate(empty_database_url, to="base")
    assert names(empty_database_url, "relation") == {"zart_schema_version", "zart_schema_version_pkc"}
    assert names(empty_database_url, "function") == set()
    with pytest.raises(SchemaOutOfDate):
        check_schema(empty_database_url)
    migrate(empty_database_url)

    assert catalog(empty_database_url) == first
    works(empty_database_url)


def test_migrating_again_changes_nothing(database_url: str) -> None:
    before = catalog(database_url)

    migrate(database_url)
    migrate(database_url, to="0001")

    assert catalog(database_url) == before


def test_the_printed_sql_makes_the_same_schema(empty_database_url: str, database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(print_sql().encode())

    assert catalog(empty_database_url) == catalog(database_url)
    check_schema(empty_database_url)


def test_a_migration_that_fails_leaves_nothing_behind(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE zart_workflows (n int)")

    with pytest.raises(StoreError, match="zart_workflows"):
        migrate(empty_database_url)

    assert names(empty_database_url, "relation") == {"zart_workflows"}


def test_a_schema_of_ones_own_is_created_and_used_alone(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZART_SCHEMA", 'my "own" schema')

    migrate(empty_database_url)
    migrate(empty_database_url)

    check_schema(empty_database_url)
    works(conninfo(empty_database_url))
    assert "zart_tasks" in names(conninfo(empty_database_url), "relation")
    assert names(empty_database_url, "relation") == set()  # the default schema
    monkeypatch.delenv("ZART_SCHEMA")
    with pytest.raises(SchemaOutOfDate):
        check_schema(empty_database_url)


def test_two_schemas_of_one_database_do_not_meet(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_SCHEMA", "second")
    migrate(database_url)
    works(conninfo(database_url))

    migrate(database_url, to="base")

    monkeypatch.delenv("ZART_SCHEMA")
    works(database_url)


def test_a_missing_schema_is_told_with_the_command_that_mends_it(empty_database_url: str) -> None:
    with pytest.raises(SchemaOutOfDate, match="zart migrate") as told:
        check_schema(empty_database_url)

    assert told.value.found is None


def test_an_older_schema_is_out_of_date_and_a_later_one_serves(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE zart_schema_version SET version_num = '0000'")
        with pytest.raises(SchemaOutOfDate, match="0000"):
            check_schema(database_url)

        connection.execute("UPDATE zart_schema_version SET version_num = '9999'")
        check_schema(database_url)
        with pytest.raises(ConfigurationError, match="newer zart-scheduler"):
            migrate(database_url)


def test_an_unknown_revision_is_refused(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="0001, head, base"):
        migrate(database_url, to="0815")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_is_not_utf8_is_refused_in_one_sentence(server_url: str, encoding: str) -> None:
    name = f"zart_{uuid4().hex[:12]}"
    create = sql.SQL(
        "CREATE DATABASE {} ENCODING {} LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    )
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(create.format(sql.Identifier(name), encoding))
        try:
            with pytest.raises(ConfigurationError, match=f"UTF8, this one is {encoding}") as told:
                migrate(with_database(server_url, name))
            assert "\n" not in str(told.value)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def test_an_old_server_is_refused_in_one_sentence(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "_OLDEST_SERVER", 990000)

    with pytest.raises(ConfigurationError, match="PostgreSQL 14 or newer, this server is"):
        migrate(empty_database_url)


def test_an_unreachable_server_is_one_line_without_the_password() -> None:
    for action in (migrate, check_schema):
        with pytest.raises(StoreUnavailable) as told:
            action("postgresql://me:s3cret@127.0.0.1:1/zart")
        assert "s3cret" not in str(told.value)
        assert "\n" not in str(told.value)


def test_the_app_role_can_run_everything_and_change_nothing_of_the_schema(database_url: str) -> None:
    role = f"zart_app_{uuid4().hex[:8]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        try:
            grant_app_role(role, database_url)
            grant_app_role(role, database_url)
            scene = Scene(database_url)
            try:
                scene.sql(f"SET ROLE {role}")
                worker = scene.worker()
                run = scene.claimed_run(worker)
                scene.deliver(run)
                assert verdicts(scene.flush(worker, steps=[step(run, "a", 1)], ends=[end(run)])) == ["ended"]
                assert scene.sql("SELECT state FROM zart_v_runs") == [("completed",)]
                assert scene.sql("SELECT version_num FROM zart_schema_version") == [("0001",)]
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    scene.sql("DROP TABLE zart_steps")
            finally:
                scene.close()
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


def test_a_role_or_schema_that_is_not_there_cannot_be_granted(
    database_url: str, empty_database_url: str
) -> None:
    with pytest.raises(ConfigurationError, match="no role 'nobody-here'"):
        grant_app_role("nobody-here", database_url)
    with psycopg.connect(database_url) as connection:
        (role,) = connection.execute("SELECT current_user").fetchone() or ("",)
    with pytest.raises(SchemaOutOfDate):
        grant_app_role(role, empty_database_url)
