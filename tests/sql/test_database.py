"""Where the database is, how it is reached, and what its errors become."""

from __future__ import annotations

import traceback

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from tests.sql.scene import Scene

from zart_core.errors import ConfigurationError, SchemaOutOfDate, StoreError, StoreUnavailable
from zart_scheduler.database import conninfo, redacted, resolve_url, store_errors


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ZART_DATABASE_URL", "DATABASE_URL", "ZART_SCHEMA"):
        monkeypatch.delenv(name, raising=False)


def test_the_argument_wins_over_zarts_variable_over_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as told:
        resolve_url()
    assert all(way in str(told.value) for way in ("--database-url", "ZART_DATABASE_URL", "DATABASE_URL"))

    monkeypatch.setenv("DATABASE_URL", "postgresql://common/db")
    assert resolve_url() == "postgresql://common/db"
    monkeypatch.setenv("ZART_DATABASE_URL", "postgresql://own/db")
    assert resolve_url() == "postgresql://own/db"
    assert resolve_url("postgresql://given/db") == "postgresql://given/db"


def test_a_connection_string_gets_defaults_and_keeps_what_it_says() -> None:
    plain = conninfo_to_dict(conninfo("postgresql+psycopg://me@host/db"))
    own = conninfo_to_dict(conninfo("host=h dbname=d application_name=mine connect_timeout=9"))

    assert (plain["host"], plain["application_name"], plain["connect_timeout"]) == ("host", "zart", "5")
    assert (own["application_name"], own["connect_timeout"], own["dbname"]) == ("mine", "9", "d")
    assert "options" not in plain


@pytest.mark.parametrize("name", ["zart", "Mixed Case", 'quo"ted', "back\\slash", "100%"])
def test_a_schema_becomes_the_search_path(
    database_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ZART_SCHEMA", name)

    with psycopg.connect(conninfo(database_url)) as connection:
        (path,) = connection.execute("SHOW search_path").fetchone() or ("",)

    assert path == '"' + name.replace('"', '""') + '"'


def test_other_options_are_kept_beside_the_schema(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_SCHEMA", "zart")
    joint = "&" if "?" in database_url else "?"

    with psycopg.connect(conninfo(f"{database_url}{joint}options=-cwork_mem%3D7MB")) as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
        assert connection.execute("SHOW search_path").fetchone() == ('"zart"',)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://x",
        "postgresql://me:s3cret@h/d?nonsense=1",
        "postgresql://me:my s3cret@h/d",
        "not a url",
        "host",
    ],
)
def test_what_is_not_postgresql_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not a PostgreSQL URL") as told:
        conninfo(url)

    assert "s3cret" not in "".join(traceback.format_exception(told.value))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@h/d", "postgresql://me:***@h/d"),
        ("postgresql://me:a@b:c@h/d", "postgresql://me:***@h/d"),
        ("postgresql://me:s3/c?r#et@h/d", "postgresql://me:***@h/d"),
        ("postgresql://me:s3 cret@h/d", "postgresql://me:***@h/d"),
        ("postgresql://me@h/d?password=s3cret&sslmode=on", "postgresql://me@h/d?password=***&sslmode=on"),
        ("host=h password='s3 c\\'ret' dbname=d", "host=h password=*** dbname=d"),
        ("host=h PASSWORD = s3cret", "host=h PASSWORD = ***"),
        ("postgresql://me@h/d", "postgresql://me@h/d"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_an_unreachable_database_is_unavailable_in_one_line_without_the_password() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached") as told, store_errors():
        psycopg.connect("postgresql://me:s3cret@127.0.0.1:1/d")

    assert "s3cret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_function_or_table_of_ours_is_a_schema_out_of_date(scene: Scene) -> None:
    for text in ("SELECT * FROM zart_missing", "SELECT zart_missing_v9()"):
        with pytest.raises(SchemaOutOfDate, match="zart migrate"), store_errors():
            scene.sql(text)


def test_a_missing_table_of_the_users_is_not(scene: Scene) -> None:
    with pytest.raises(StoreError, match="missing") as told, store_errors():
        scene.sql("SELECT * FROM missing")

    assert not isinstance(told.value, StoreUnavailable)


def test_a_transaction_of_a_higher_level_is_the_callers_configuration(scene: Scene) -> None:
    session = scene.transaction()
    session.sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")

    with (
        pytest.raises(ConfigurationError, match="READ COMMITTED transaction, this one is SERIALIZABLE"),
        store_errors(),
    ):
        session.sql("SELECT zart_deliver_v1('e', 'x', NULL, '1')")


def test_a_connection_that_was_cut_is_unavailable(scene: Scene) -> None:
    session = scene.session()
    scene.sql("SELECT pg_terminate_backend(%s)", session.connection.info.backend_pid)

    with pytest.raises(StoreUnavailable), store_errors():
        session.sql("SELECT 1")


def test_other_errors_pass(scene: Scene) -> None:
    with pytest.raises(ZeroDivisionError), store_errors():
        raise ZeroDivisionError
