from pathlib import Path

import pytest

from zart_cli import settings, target
from zart_core import ConfigurationError

SECRET = "correct horse"


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ZART_DATABASE_URL", "DATABASE_URL", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    settings.begin()


def write_pyproject(text: str) -> None:
    Path("pyproject.toml").write_text(text)


def test_the_flag_wins_over_both_variables_and_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_pyproject('[tool.zart]\ndatabase-url = "postgresql://file/db"\n')
    assert target.configured_url() == "postgresql://file/db"
    monkeypatch.setenv("DATABASE_URL", "postgresql://general/db")
    assert target.configured_url() == "postgresql://general/db"
    monkeypatch.setenv("ZART_DATABASE_URL", "postgresql://special/db")
    assert target.configured_url() == "postgresql://special/db"
    settings.update(database_url="postgresql://flag/db")
    assert target.configured_url() == "postgresql://flag/db"


def test_an_empty_variable_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_DATABASE_URL", "")
    monkeypatch.setenv("DATABASE_URL", "postgresql://general/db")
    assert target.configured_url() == "postgresql://general/db"


def test_the_nearest_pyproject_with_our_table_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    write_pyproject('[tool.zart]\ndatabase-url = "embedded:"\n')
    inner = Path("package/deep")
    inner.mkdir(parents=True)
    (inner.parent / "pyproject.toml").write_text("[tool.other]\n")
    monkeypatch.chdir(inner)
    assert target.configured_url() == "embedded:"


def test_a_broken_pyproject_is_named() -> None:
    write_pyproject("[tool.zart\n")
    with pytest.raises(ConfigurationError, match=r"cannot read .*pyproject\.toml"):
        target.configured_url()


def test_a_url_in_the_file_must_be_text() -> None:
    write_pyproject("[tool.zart]\ndatabase-url = 7\n")
    with pytest.raises(ConfigurationError, match="must be a text"):
        target.configured_url()


def test_no_database_names_every_way_to_choose_one() -> None:
    with pytest.raises(ConfigurationError) as told:
        target.database_url()
    for way in ("--database-url", "ZART_DATABASE_URL", "DATABASE_URL", "[tool.zart]", "embedded:"):
        assert way in str(told.value)


@pytest.mark.parametrize(
    "url",
    ["mysql://u:correct horse@h/db", "postgresql://u:p@h:port/db", "nonsense", "postgresql://u:a@b@host/db"],
)
def test_what_is_no_url_is_refused_without_showing_it(url: str) -> None:
    settings.update(database_url=url)
    with pytest.raises(ConfigurationError) as told:
        target.database_url()
    assert "--database-url" in str(told.value)
    assert url not in str(told.value)
    assert "correct horse" not in str(told.value)


@pytest.mark.parametrize("url", ["embedded:", "embedded", "embedded:/srv/zart"])
def test_the_embedded_server_is_recognised(url: str) -> None:
    assert target.is_embedded(url)
    assert target.describe(url) == url


def test_a_database_is_described_without_user_and_password() -> None:
    assert target.describe("postgresql://me:correct@db.example:5433/orders") == "db.example:5433/orders"
    assert target.describe("host=/run/pg dbname=orders password=x") == "/run/pg/orders"


def test_the_connect_timeout_of_the_url_stands_unless_one_is_given() -> None:
    url = "postgresql+psycopg://me@db/orders?connect_timeout=20"
    assert "connect_timeout=20" in target.libpq_url(url)
    settings.update(connect_timeout=2.5)
    assert "connect_timeout=3" in target.libpq_url(url)
    settings.begin()
    assert "connect_timeout=5" in target.libpq_url("postgresql://me@db/orders")


def test_no_text_shows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_DATABASE_URL", "postgresql://me:s3cret%2Fw0rd@db/orders")
    monkeypatch.setenv("PGPASSWORD", "hunter2hunter2")
    for text in (
        "failed: postgresql://me:s3cret%2Fw0rd@db/orders",
        "failed: host=db password=s3cret%2Fw0rd",
        "failed: password='s3cret/w0rd x'",
        "the secret is s3cret/w0rd",
        "or hunter2hunter2",
    ):
        shown = target.without_passwords(text)
        assert "***" in shown
        assert "s3cret" not in shown
        assert "hunter2" not in shown


def test_a_password_that_is_also_a_name_does_not_blank_out_every_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZART_DATABASE_URL", "postgresql://postgres:postgres@db/zart")
    assert target.without_passwords("no postgres at postgresql://postgres:postgres@db/zart") == (
        "no postgres at postgresql://postgres:***@db/zart"
    )
