"""Someone who does what a page says: saves its files, types its commands, and compares what it promises to be shown.

- `python` blocks: one that begins with `# name.py` is saved under that name, another is run.
- `sh` blocks: run as they stand; each has to succeed.
- `console` blocks: what follows `$ ` is typed, the rest is what has to be shown. `...` stands for anything. A command
  has to succeed unless `$ echo $?` comes next.
- `sql` blocks: sent to the database.
- `zart dev`, `zart worker` and `zart api` run beside the rest of the page until it ends, and then have to stop in good
  order on Ctrl-C.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from tests.docs.markdown import Block

PATIENCE = 60.0
KILLED = 128 + signal.SIGKILL

_SERVING = re.compile(r"^(\w+=(\S+|\"[^\"]*\") )*zart (?P<command>dev|worker|api)\b(?!.*--help)")
_READY = {"dev": "Zart is ready", "worker": "ready for ", "api": "serving on "}
_ADDRESS = re.compile(r"(?:serving on|API +)\s*http://(?P<host>127\.0\.0\.1:\d+)")
_FILE = re.compile(r"# (?P<name>[\w./-]+\.\w+)\n")

# What differs from one time to the next: moments, durations, ids, ports.
_VARYING = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?|\d\d:\d\d:\d\d"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b"
    r"|<?(\d+(\.\d+)?(ms|[smhd]))+\b( ago)?|\bnow\b|127\.0\.0\.1:\d+"
)

_STATEFUL = """
trap 'code=$?; {{ export -p; declare -f; printf "cd %q\\n" "$PWD"; }} > {state}; exit $code' EXIT
. {state}
{setting}
{command}
"""


@dataclass(slots=True)
class Server:
    """A command that serves, and the file that its output goes to."""

    line: str
    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        """Return what it has said so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def ended(self) -> bool:
        """Return whether it serves no more."""
        return self.process.poll() is not None


class Reader:
    """One reader at one page, in a directory of his own."""

    def __init__(
        self, directory: Path, environment: Mapping[str, str], database_url: Callable[[], str]
    ) -> None:
        self._directory, self._environment = directory, {**environment, "CURL_HOME": str(directory)}
        self._database_url = database_url
        self._state = directory / ".state"
        self._state.touch()
        self._code = 0
        self._servers: list[Server] = []

    def do(self, block: Block) -> None:
        """Do what one block says."""
        match block.language:
            case "python" if found := _FILE.match(block.text):
                path = self._directory / found["name"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            case "python":
                path = self._directory / f"block_{block.line}.py"
                path.write_text(block.text, encoding="utf-8")
                self._type(f"python {path.name}", block)
            case "sh":
                self._script(block)
            case "console":
                self._transcript(block)
            case "sql":
                with psycopg.connect(self._database_url(), autocommit=True) as connection:
                    for statement in block.text.split(";\n"):
                        connection.execute(statement.encode())

    def finish(self) -> None:
        """Press Ctrl-C in every terminal that still serves; each has to leave with 0."""
        for server in self._servers:
            if not server.ended():
                server.process.send_signal(signal.SIGINT)
        for server in self._servers:
            code = server.process.wait(PATIENCE)
            assert code in {0, KILLED}, f"{server.line!r} left with {code}:\n{server.output()}"

    def leave(self) -> None:
        """End whatever is left."""
        for server in self._servers:
            if not server.ended():
                server.process.terminate()
                server.process.wait(PATIENCE)

    def _script(self, block: Block) -> None:
        """Run a block; its serving lines go to terminals of their own."""
        waiting: list[str] = []
        for line in block.text.splitlines():
            if _SERVING.match(line):
                self._type("\n".join(waiting), block, setting="set -e")
                waiting = []
                self._serve(line)
            else:
                waiting.append(line)
        self._type("\n".join(waiting), block, setting="set -e")

    def _transcript(self, block: Block) -> None:
        exchanges = _exchanges(block.text)
        for number, (command, expected) in enumerate(exchanges):
            if _SERVING.match(command):
                server = self._serve(command)
                _until(lambda server=server, expected=expected: _agree(expected, server.output()), server)  # type: ignore[misc] # defaults bind the loop's variables
                continue
            code_is_asked_for = [next_[0] for next_ in exchanges[number + 1 : number + 2]] == ["echo $?"]
            shown = self._type(command, block, setting=f"(exit {self._code})", may_fail=code_is_asked_for)
            assert _agree(expected, shown), (
                f"{block.where}: `{command}` should show\n{expected}\nand showed\n{shown}\n{self._logs()}"
            )

    def _type(self, command: str, block: Block, *, setting: str = "", may_fail: bool = False) -> str:
        """Run a command in the page's shell and return what it shows."""
        if not command.strip():
            return ""
        script = _STATEFUL.format(state=self._state, setting=setting, command=command)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        self._code, shown = done.returncode, done.stdout.decode(errors="replace")
        assert may_fail or self._code == 0, (
            f"{block.where}: `{command}` left with {self._code}:\n{shown}\n{self._logs()}"
        )
        return shown

    def _serve(self, line: str) -> Server:
        log = self._directory / f".log-{len(self._servers)}"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", f". {self._state}\nexec env {line}"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        server = Server(line, process, log)
        self._servers.append(server)
        found = _SERVING.match(line)
        assert found is not None
        _until(lambda: _READY[found["command"]] in server.output(), server)
        if address := _ADDRESS.search(server.output()):
            # Pages name the usual port; here it is a free one.
            rule = f'connect-to = "127.0.0.1:8080:{address["host"]}"\n'
            (self._directory / ".curlrc").write_text(rule, encoding="utf-8")
        return server

    def _logs(self) -> str:
        return "\n".join(f"--- {server.line}\n{server.output()}" for server in self._servers)


def _exchanges(text: str) -> list[tuple[str, str]]:
    """Return the commands of a transcript, each with what is shown after it."""
    found: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [("\n".join(command), "\n".join(shown)) for command, shown in found]


def _agree(expected: str, shown: str) -> bool:
    """Return whether a page's text is what was shown, but for what varies and for `...`."""
    parts = [re.escape(_plain(part)) for part in expected.split("...")]
    return re.fullmatch(r"[\s\S]*?".join(parts), _plain(shown)) is not None


def _plain(text: str) -> str:
    return " ".join(_VARYING.sub("#", text).split())


def _until(condition: Callable[[], bool], server: Server) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert not server.ended(), f"{server.line!r} has left:\n{server.output()}"
        assert time.monotonic() < end, f"{server.line!r} does not say what it should:\n{server.output()}"
        time.sleep(0.02)
