"""A user's mistake is one line that says what was wrong, where, and what to do; exit code 2; no traceback."""

import socket
import sqlite3
from pathlib import Path

import pytest

from tests.support.command import command, invoke
from tests.support.record import new_store

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


ALONE = [  # found before another process starts
    (["run", "chatt", "--host", "http://127.0.0.1:9"], "no scenario called 'chatt'; there are app_switchers, "),
    (["run", "no/such.py", "--host", "http://127.0.0.1:9"], "no/such.py: no such file"),
    ([*RUN, "--label", "build"], "--label 'build': write it as NAME=VALUE"),
    (["judge", "nowhere.db"], "nowhere.db"),
    (["judge", "text.db"], "text.db"),
    (["judge", "foreign.db"], "foreign.db"),
    (["judge", "newer.db"], "newer"),
    (["judge", "empty.db"], "empty.db"),
    (["report", "nowhere.db"], "nowhere.db"),
    (["runs", "nowhere.db"], "nowhere.db"),
]
BY_PROCESSES = [  # found by Locust's process or by the server's; and one of the above, as a person meets it
    ([*RUN, "--config", "nowhere.toml"], "nowhere.toml: no such config file"),
    (["run", "mine.py", "--host", "http://127.0.0.1:9"], "no network called 'slow_5g'; there are direct, wifi"),
    (["run", "chat", "--host", "http://nowhere.invalid"], "host 'nowhere.invalid' does not resolve"),
    ([*RUN, "--config", "key.toml"], "key.toml: target: no key called 'protocoll'; there are protocol, path"),
    ([*RUN, "--config", "metric.toml"], "no metric called 'ttfb'; there are ttft"),
    ([*RUN, "--config", "secret.toml"], "the environment has no variable 'NO_SUCH_KEY'"),
    ([*RUN, "--client", "aiohttp"], "no client called 'aiohttp'; there are wire, httpx, anthropic"),
    ([*RUN, "--db", "newer.db"], "newer"),
    (["serve", "--port", "TAKEN"], "in use"),
    (["judge", "nowhere.db"], "nowhere.db"),
]


def words_of(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file for each mistake."""
    for name, text in {
        "mine.py": SCENARIO,
        "key.toml": '[target]\nprotocoll = "openai_chat"',
        "metric.toml": '[[sla]]\nrule = "p95(ttfb) < 1s"',
        "secret.toml": '[target]\nheaders = { "x-api-key" = "${NO_SUCH_KEY}" }',
        "text.db": "this is no database, however long one looks at it" * 50,
        "empty.db": "",
    }.items():
        (tmp_path / name).write_text(text)
    make_database(tmp_path / "foreign.db", "CREATE TABLE songs (title)")
    make_newer(tmp_path / "newer.db")
    return tmp_path


@pytest.mark.parametrize(("words", "said"), ALONE, ids=words_of)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: list[str], said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    ended = invoke(*words)
    assert ended.exit_code == 2, (ended.stdout, ended.stderr)
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert said in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(("words", "said"), BY_PROCESSES, ids=words_of)
def test_a_process_reports_a_mistake_in_one_line_with_exit_code_2(words: list[str], said: str, folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = [str(taken.getsockname()[1]) if word == "TAKEN" else word for word in words]
        ended = command("streamgauge", *words, cwd=folder, COLUMNS="200")
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
def test_an_invalid_scenario_is_reported_in_one_line_and_sends_nothing(
    mistake: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(NUMBERS.format(**{"tools": "()", "users": "(5,)", "seconds": "30"} | mistake))
    ended = command("streamgauge", "run", "mine.py", "--host", "http://127.0.0.1:9", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert ended.stderr.splitlines() == [f"streamgauge: {said}"]


def make_database(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.commit()
    connection.close()


def make_newer(path: Path) -> None:
    """A database of ours that a later version has migrated further."""
    new_store(path).close()
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
