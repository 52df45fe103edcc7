"""A user's mistake is one line that says what was wrong, where, and what to do; exit code 2; no traceback."""

import os
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from streamgauge.harness.run.launch import locustfile
from tests.support.command import BIN, PATIENCE, command, invoke, locust_in_forks
from tests.support.record import a_run, new_store

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
MINE = {  # by the file's name: what is wrong in it, and the line that says so
    "syntax.py": (
        "from streamgauge.scenario import StreamUser\n\nclass Reader(StreamUser)\n",
        "syntax.py:3: SyntaxError: ",
    ),
    "imports.py": ("import no_such_module\n", "imports.py:1: ModuleNotFoundError: No module named 'no_such_module'"),
    "names.py": (
        "from streamgauge.scenario import StreamUser, tsak\n",
        "names.py:1: ImportError: cannot import name 'tsak'",
    ),
    "raises.py": (SCENARIO.replace('"slow_5g"', '{}["slow"]'), "raises.py:5: KeyError: 'slow'"),
    "misspelt.py": (SCENARIO.replace("network", "netwrok"), "Reader.netwrok: there is no such attribute"),
    "shape.py": (
        NUMBERS.replace("users =", "user =").format(tools="()", users="(1,)", seconds="(1,)"),
        "Stairs.user: there is no such attribute",
    ),
    "deep.py": ("from broken import x\n", "broken.py:2: ZeroDivisionError: division by zero"),
    "exits.py": ("import sys\nsys.exit(0)\n", "exits.py:2: SystemExit: 0"),
    "locusts.py": (
        "from locust import HttpUser, task\n\nclass Plain(HttpUser):\n    @task\n    def ask(self):\n        pass\n",
        "locusts.py: no class in it is a StreamUser",
    ),
    "idle.py": (SCENARIO.replace('"slow_5g"', '"wifi"').replace("@task", ""), "Reader has no task: write @task above"),
    "nothing.py": ("x = 1\n", "nothing.py: no class in it is a StreamUser"),
}
BY_PROCESSES = [  # as a person meets them: found at once, by Locust's process, and by the server's
    (["judge", "nowhere.db"], "nowhere.db"),
    ([*RUN, "--config", "nowhere.toml"], "nowhere.toml: no such config file"),
    (["serve", "--port", "TAKEN"], "in use"),
    ([*RUN, "--warm-up", "-5s"], "--warm-up: '-5s' is not a duration: write a number and a unit"),
    ([*RUN, "--web", "--", "--web-port", "TAKEN"], "on 127.0.0.1 is in use; choose another with --web-port"),
]
BY_PROCESSES += [(["run", name, "--host", "http://127.0.0.1:9"], said) for name, (_, said) in MINE.items()]
BY_PROCESSES += [
    ([*RUN, "--protocol", "opnai_chat"], "no protocol called 'opnai_chat'; there are anthropic_messages, "),
    ([*RUN, "--run-time", "5x"], "streamgauge: error: argument -t/--run-time: Invalid time span format"),
    ([*RUN, "--protocol", "custom"], "--protocol custom needs [target.events] in the config"),
    ([*RUN, "--path", "v1"], "--path 'v1' does not begin with a slash"),
    ([*RUN, "--header", "x"], "--header: write it as 'name: value'"),
    ([*RUN, "--header", "x-api-key: 0123456789"], "--header: 'x-api-key' holds a key as text"),
    ([*RUN, "--header", "x-api-key: ${NO_SUCH_KEY}"], "the environment has no variable 'NO_SUCH_KEY'"),
]
HERE = ("--headless", "--loglevel", "WARNING", "--host", "http://127.0.0.1:9")
CHAT = ("--locustfile", str(locustfile("chat")), *HERE)
ALL_WARM_UP = "streamgauge: load.warm_up (or --warm-up): {} leaves nothing to measure: "
BY_LOCUST = [
    (
        ["-f", "mine.py", "--headless", "--master", "--processes", "auto"],
        "with --master, write the number of",
    ),
    (["-f", "mine.py", "--worker", "--processes", "auto"], "with --worker, write the number of"),
    (
        ["-f", "mine.py", "--headless", "--processes", "nine"],
        "'nine' is no number of processes: write 1 or",
    ),
    (
        ["-f", "mine.py", "--headless", "--processes", "-5"],
        "'-5' is no number of processes: write 1 or",
    ),
    (["-f", "mine.py", *HERE], "no network called 'slow_5g'; there are direct, wifi"),
    ([*CHAT, "--host", "http://nowhere.invalid"], "host 'nowhere.invalid' does not resolve"),
    ([*CHAT, "--gauge-config", "key.toml"], "key.toml: target: no key called 'protocoll'; there are protocol, path"),
    ([*CHAT, "--gauge-config", "metric.toml"], "no metric called 'ttfb'; there are ttft"),
    ([*CHAT, "--gauge-config", "secret.toml"], "the environment has no variable 'NO_SUCH_KEY'"),
    ([*CHAT, "--gauge-client", "aiohttp"], "no client called 'aiohttp'; there are wire, httpx, anthropic"),
    ([*CHAT, "--gauge-db", "newer.db"], "newer"),
    ([*CHAT, "--gauge-db", "nowhere/run.db"], "nowhere/run.db: there is no folder nowhere; correct the path"),
    ([*CHAT, "--gauge-report", "nowhere/run.html"], "nowhere/run.html: there is no folder nowhere; correct the path"),
    ([*CHAT, "--gauge-output", "junit=."], ".: is a folder; give the path of a file in it"),
    (["-f", "users.py", *HERE], "streamgauge: Stairs.users: (5, -1) must hold numbers of 0 or more\n"),
    (["-f", "seconds.py", *HERE], "streamgauge: Stairs.seconds: 0 is not a duration; write one above 0\n"),
    (["-f", "tools.py", *HERE], "streamgauge: Reader.tools: write a tuple of names, as in ('gauge_level',)\n"),
    (
        [*CHAT, "--gauge-arrivals", "poisson", "--gauge-rate", "-3"],
        "load.rate: -3 is not a number of streams per second",
    ),
    (
        ["-f", str(locustfile("steps")), *HERE, "--gauge-arrivals", "poisson", "--gauge-rate", "3"],
        "the scenario's shape Staircase sets how many users run",
    ),
    (
        [*CHAT, "-t", "10s", "--gauge-warm-up", "10s"],
        f"{ALL_WARM_UP.format('10s')}the run takes 10 s (--run-time); give",
    ),
    ([*CHAT, "--gauge-config", "warm_up.toml", "-t", "5s"], f"{ALL_WARM_UP.format('1m')}the run takes 5 s"),
    ([*CHAT, "--gauge-warm-up=-5s"], "--warm-up: '-5s' is not a duration: write a number and a unit"),
    ([*CHAT, "--gauge-max-cost", "5"], "--max-cost: what a token costs is unknown: write [target.prices]"),
    ([*CHAT, "--gauge-config", "price.toml", "--gauge-max-cost", "nan"], "--max-cost: nan is not an amount"),
    ([*CHAT, "--gauge-max-tokens-spent", "0"], "--max-tokens-spent: 0 is not a number of tokens: write 1 or more"),
    (
        [*CHAT, "--gauge-config", "negative.toml"],
        "negative.toml: target.prices.input: -1.0 is not a price of a million",
    ),
    ([*CHAT, "--gauge-warm-up", "soon"], "--warm-up: 'soon' is not a duration: write a number and a unit"),
    (
        [*CHAT, "--gauge-arrivals", "file:times.txt", "--gauge-warm-up", "30s"],
        f"{ALL_WARM_UP.format('30s')}the last arrival of times.txt#",
    ),
    (
        ["-f", str(locustfile("steps")), *HERE, "--gauge-warm-up", "1h"],
        f"{ALL_WARM_UP.format('60m')}the shape Staircase ends before that",
    ),
]


def words_of(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file for each mistake."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name, text in {
        "mine.py": SCENARIO,
        "broken.py": "\nx = 1 / 0\n",
        **{name: text for name, (text, _) in MINE.items()},
        "users.py": NUMBERS.format(users="(5, -1)", seconds="30", tools="()"),
        "seconds.py": NUMBERS.format(users="(5,)", seconds="0", tools="()"),
        "tools.py": NUMBERS.format(users="(5,)", seconds="30", tools="'gauge_level'"),
        "key.toml": '[target]\nprotocoll = "openai_chat"',
        "warm_up.toml": '[load]\nwarm_up = "60s"',
        "times.txt": "0\n2.5\n",
        "price.toml": "[target.prices]\ninput = 1\noutput = 2",
        "negative.toml": "[target.prices]\ninput = -1\noutput = 2",
        "metric.toml": '[[sla]]\nrule = "p95(ttfb) < 1s"',
        "secret.toml": '[target]\nheaders = { "x-api-key" = "${NO_SUCH_KEY}" }',
        "text.db": "this is no database, however long one looks at it" * 50,
        "empty.db": "",
    }.items():
        (folder / name).write_text(text)
    make_database(folder / "foreign.db", "CREATE TABLE songs (title)")
    make_newer(folder / "newer.db")
    return folder


@pytest.fixture(scope="module")
def found_by_locust(folder: Path) -> dict[str, "subprocess.CompletedProcess[str]"]:
    """What Locust said to each order, by the order's words."""
    orders = [words for words, _ in BY_LOCUST]
    return {words_of(one.args): one for one in locust_in_forks(orders, folder)}


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


class TestOfOneLocust:
    @pytest.mark.parametrize(("words", "said"), BY_LOCUST, ids=words_of)
    def test_locust_reports_a_mistake_in_one_line_with_exit_code_2_and_sends_nothing(
        self, words: list[str], said: str, found_by_locust: dict[str, "subprocess.CompletedProcess[str]"]
    ) -> None:
        ended = found_by_locust[words_of(words)]
        assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
        assert len(ended.stderr.splitlines()) == 1, ended.stderr
        assert said in ended.stderr


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


@pytest.mark.parametrize("words", ["--help", "--version", "runs --help", "serve --help", "judge here.db", "baseline"])
def test_a_full_or_closed_standard_output_is_one_line_and_no_verdict(words: str, tmp_path: Path) -> None:
    with new_store(tmp_path / "here.db") as store:
        store.start_run(a_run())
    for to, said in ((">/dev/full", "standard output: cannot be written"), (">&-", "standard output is closed")):
        ended = subprocess.run(
            ["sh", "-c", f"exec {BIN / 'streamgauge'} {words} {to}"],
            cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert ended.returncode == 2
        assert said in ended.stderr
        assert ended.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_one_line(tmp_path: Path) -> None:
    with new_store(tmp_path / "here.db") as store:
        store.start_run(a_run())
    for words in (("runs", "here.db"), ("judge", "here.db")):
        reading, writing = os.pipe()
        os.close(reading)
        ended = subprocess.run(
            [BIN / "streamgauge", *words],
            cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        os.close(writing)
        assert (ended.returncode, ended.stderr) == (2, "streamgauge: the output was closed before its end\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1:strict", "ascii:surrogateescape"])
def test_a_terminal_that_lacks_a_character_gets_a_question_mark_for_it(encoding: str) -> None:
    code = "from streamgauge.harness import standard_output; standard_output.watch(); print('\u2713 PASS')"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert ended.stdout == b"? PASS\n"
