"""A user's mistake is one line that says what was wrong, where, and what to do; exit code 2; no traceback."""

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
RUN = ("run", "chat", "--host", "http://127.0.0.1:9")
SCENARIO = """
from streamgauge.scenario import StreamUser, task

class Reader(StreamUser):
    network = "slow_5g"

    @task
    def ask(self):
        self.stream()
"""
NUMBERS = """
from streamgauge.scenario import Steps, StreamUser, task

class Reader(StreamUser):
    tools = {tools}

    @task
    def ask(self):
        self.stream()

class Stairs(Steps):
    users = {users}
    seconds = {seconds}
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*RUN, "--config", "nowhere.toml"], "nowhere.toml: no such config file"),
        (["run", "chatt", "--host", "http://127.0.0.1:9"], "no scenario called 'chatt'; there are app_switchers, "),
        (["run", "no/such.py", "--host", "http://127.0.0.1:9"], "no/such.py: no such file"),
        (["run", "mine.py", "--host", "http://127.0.0.1:9"], "no network called 'slow_5g'; there are direct, wifi"),
        (["run", "chat", "--host", "http://nowhere.invalid"], "host 'nowhere.invalid' does not resolve"),
        ([*RUN, "--config", "key.toml"], "key.toml: target: no key called 'protocoll'; there are protocol, path"),
        ([*RUN, "--config", "metric.toml"], "no metric called 'ttfb'; there are ttft"),
        ([*RUN, "--config", "secret.toml"], "the environment has no variable 'NO_SUCH_KEY'"),
        ([*RUN, "--client", "aiohttp"], "no client called 'aiohttp'; there are wire, httpx, anthropic"),
        ([*RUN, "--label", "build"], "--label 'build': write it as NAME=VALUE"),
        ([*RUN, "--db", "newer.db"], "newer"),
        (["judge", "nowhere.db"], "nowhere.db"),
        (["judge", "text.db"], "text.db"),
        (["judge", "foreign.db"], "foreign.db"),
        (["judge", "newer.db"], "newer"),
        (["judge", "empty.db"], "empty.db"),
        (["report", "nowhere.db"], "nowhere.db"),
        (["runs", "nowhere.db"], "nowhere.db"),
        (["serve", "--port", "TAKEN"], "in use"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(words: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SCENARIO)
    for name, text in {
        "key.toml": '[target]\nprotocoll = "openai_chat"',
        "metric.toml": '[[sla]]\nrule = "p95(ttfb) < 1s"',
        "secret.toml": '[target]\nheaders = { "x-api-key" = "${NO_SUCH_KEY}" }',
        "text.db": "this is no database, however long one looks at it" * 50,
        "empty.db": "",
    }.items():
        (tmp_path / name).write_text(text)
    make_database(tmp_path / "foreign.db", "CREATE TABLE songs (title)")
    make_newer(tmp_path / "newer.db")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = [str(taken.getsockname()[1]) if word == "TAKEN" else word for word in words]
        ended = subprocess.run(
            [BIN / "streamgauge", *words],
            cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ended.returncode == 2, (ended.stdout, ended.stderr)
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert said in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ({"users": "(5, -1)"}, "Stairs.users: (5, -1) must hold numbers of 0 or more"),
        ({"seconds": "0"}, "Stairs.seconds: 0 is not a duration; write one above 0"),
        ({"tools": "'gauge_level'"}, "Reader.tools: write a tuple of names, as in ('gauge_level',)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_scenario_that_cannot_be_meant_is_one_line_and_nothing_is_sent(
    mistake: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(NUMBERS.format(**{"tools": "()", "users": "(5,)", "seconds": "30"} | mistake))
    words = [str(BIN / "streamgauge"), "run", "mine.py", "--host", "http://127.0.0.1:9"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert ended.stderr.splitlines() == [f"streamgauge: {said}"]


def make_database(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


def make_newer(path: Path) -> None:
    """A database of ours that a later version has migrated further."""
    subprocess.run(
        [
            sys.executable,
            "-c",
            f"from streamgauge.harness.judge.store import Store; Store.create({str(path)!r}).close()",
        ],
        check=True,
    )
    connection = sqlite3.connect(path)
    name = next(n for (n,) in connection.execute("SELECT name FROM sqlite_master") if "migrations" in n)
    columns = [column for _, column, *_ in connection.execute(f"PRAGMA table_info({name})")]
    row = dict(zip(columns, connection.execute(f"SELECT * FROM {name}").fetchone(), strict=True))
    row |= {"name": "m999_of_the_future"}
    if isinstance(row.get("id"), int):
        row["id"] += 998
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {name} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
    connection.commit()
    connection.close()
