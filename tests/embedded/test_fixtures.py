import psycopg


def test_every_test_gets_a_database_of_its_own(database_url: str, empty_database_url: str) -> None:
    assert database_url != empty_database_url
    for url in (database_url, empty_database_url):
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE only_here (n int)")
