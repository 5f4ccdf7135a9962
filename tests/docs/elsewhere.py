"""Blocks that no test of the pages runs, each with the reason and with what checks it instead."""

from __future__ import annotations

SHOWN = ("text", "json", "ini", "toml", "yaml")
"""Languages of blocks that show something and are not run."""

ELSEWHERE: dict[str, str] = {
    """\
make demo    # orders are paid while the paying process gets SIGKILL: every card is charged exactly once
make test    # the whole suite, against its own server
""": "Takes minutes and would run this very test: tests/demo runs the first, continuous integration the second.",
    """\
make setup
. .venv/bin/activate
""": "Makes the environment that this test runs in: `make check` does it first.",
    """\
pip install zart-core zart-decorators zart-api "zart-scheduler[embedded]"
""": "Downloads: tests/packaging/test_wheels.py installs what is built.",
    """\
cp .env.example .env    # and fill in a password and a key
docker compose up --build --wait
""": "Needs a container runtime: tests/packaging/test_compose.py checks the file and what it needs to be filled in.",
}
