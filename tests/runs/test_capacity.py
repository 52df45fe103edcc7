"""`streamgauge capacity` against a server whose capacity is known: it refuses more than so many streams at a time."""

import contextlib
import json
import os
import re
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import jsonschema
import pytest

from tests.support.command import BIN, REPOSITORY, command, running, until
from tests.support.reference import reference_server
from tests.support.terminal import Program

HOLDS = 3  # streams at a time
FAST = ("--ttft", "10ms", "--itl", "4ms", "--tokens", "3-3", "--spread", "0.1", "--pauses", "0", "--prefill", "0ms")
CONFIG = """
[[sla]]
rule = "p95(ttft) < 10s"
[[sla]]
rule = "error_rate < 5%"
"""
SCHEMA = json.loads((REPOSITORY / "docs/reference/capacity.schema.json").read_text())


class Searched(NamedTuple):
    code: int
    output: str
    folder: Path
    found: dict  # type: ignore[type-arg]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with reference_server(*FAST, "--capacity", "0", "--max-streams", str(HOLDS)) as server:
        yield server.url


@pytest.fixture(scope="module")
def searched(url: str, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """One search for all tests of what it found."""
    folder = tmp_path_factory.mktemp("capacity")
    (folder / "streamgauge.toml").write_text(CONFIG)
    ended = command(
        "streamgauge", "capacity", url, "--at-least", 2, "--max-users", 6, "--db", "run.db", "--json", "found.json",
        "--output", "markdown=found.md", "--output", "junit=found.xml", "--max-minutes", 20, cwd=folder,
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    assert (folder / "found.json").exists(), said
    return Searched(ended.returncode, said, folder, json.loads((folder / "found.json").read_text()))


def test_the_search_finds_what_the_server_holds(searched: Searched) -> None:
    found = searched.found
    assert (searched.code, found["proven"], found["gave_way"], found["stopped"]) == (0, HOLDS, "server", None)
    assert HOLDS <= found["knee"]["low"] <= found["knee"]["at"] <= HOLDS + 1
    assert f"At least {HOLDS} users keep the SLA (95 % confidence)." in searched.output
    assert f"✗     {HOLDS + 1} users missed" in searched.output
    assert found["rule"] in {"error_rate < 5%", "p95(ttft) < 10s"}


def test_the_document_is_as_its_schema_says(searched: Searched) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(searched.found)
    assert {"begins", "ends", "bad", "effective"} <= searched.found["levels"][0].keys()


def test_one_run_has_every_stream_and_what_was_found(searched: Searched) -> None:
    connection = sqlite3.connect(searched.folder / "run.db")
    ((run, status, instrument),) = connection.execute("SELECT id, status, instrument FROM runs").fetchall()
    (streams,) = connection.execute("SELECT count(*) FROM streams").fetchone()
    (most,) = connection.execute("SELECT max(value) FROM samples WHERE name = 'users'").fetchone()
    connection.close()
    assert (run, status) == (searched.found["run"], "finished")
    assert streams == searched.found["streams"]
    kept = json.loads(instrument)["capacity"]
    assert (kept["proven"], len(kept["levels"])) == (HOLDS, len(searched.found["levels"]))
    assert most <= 6, "never more than asked for"


def test_every_output_says_the_same(searched: Searched) -> None:
    assert f"At least {HOLDS} users keep the SLA" in (searched.folder / "found.md").read_text().replace("\\", "")
    suite = ElementTree.parse(searched.folder / "found.xml").getroot()
    assert suite.find(".//testcase[@name='at least 2 users']") is not None
    assert suite.find(".//failure") is None


@pytest.mark.usefixtures("before_others")
def test_an_open_load_is_searched_by_its_rate(tmp_path: Path) -> None:
    # A level is watched for ten times the longest wait that is allowed.
    (tmp_path / "streamgauge.toml").write_text(CONFIG.replace("10s", "1s"))
    # It refuses nobody: what comes due while a busy machine stops a server of three streams would be more than three.
    with reference_server(*FAST, "--capacity", "0") as server:
        ended = command(
            "streamgauge", "capacity", server.url, "--open", "--sweep", "15", "--max-users", 100, "--json",
            "found.json", "--report", "found.html", "--max-minutes", 20, cwd=tmp_path,
        )  # fmt: skip
    found = json.loads((tmp_path / "found.json").read_text())
    assert (ended.returncode, found["unit"], found["proven"]) == (0, "streams per minute", 15 * 60), ended.stdout
    assert "At least 15 streams per second keep the SLA" in ended.stdout
    assert "streams due per second" in (tmp_path / "found.html").read_text()
    (level,) = found["levels"]
    assert 10 < level["completions"] < 20
    assert (found["per_second"]["proven"], level["per_second"]) == (15, 15)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)


def test_a_server_that_dies_ends_the_search_with_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "streamgauge.toml").write_text(CONFIG)
    words = ("--json", "found.json", "--max-minutes", 20, "--db", "run.db")
    with (
        reference_server(*FAST, "--capacity", "0") as server,
        running("streamgauge", "capacity", server.url, *words, cwd=tmp_path, COLUMNS="200") as search,
    ):
        until(lambda: " users passed " in search.shown)
        _copy(tmp_path / "run.db", tmp_path / "then.db")  # judging takes longer than the search has, on a slow machine
        os.kill(server.process.pid, signal.SIGKILL)
        ended = search.ended()
    judged = command("streamgauge", "judge", "then.db", cwd=tmp_path)
    assert "the search for a capacity was killed before it had an answer, or goes on" in judged.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert found["stopped"].startswith("the server has answered nothing since")
    assert found["passed"] >= 4


def _copy(database: Path, to: Path) -> None:
    """As it is now, while others write to it."""
    with contextlib.closing(sqlite3.connect(database)) as there, contextlib.closing(sqlite3.connect(to)) as here:
        there.backup(here)


def test_in_a_terminal_the_bracket_closes_and_ctrl_c_prints_what_is_known(url: str, tmp_path: Path) -> None:
    """The run is in a process group of its own: a terminal would stop it if it read from there."""
    (tmp_path / "streamgauge.toml").write_text(CONFIG)
    words = [BIN / "streamgauge", "capacity", url, "--db", "run.db"]
    program = Program(words, tmp_path, {"TERM": "xterm", "NO_COLOR": "1", "CI": ""})
    # A level on the way up may be decided at its first look, before the screen has shown it: then a later one is seen.
    level = r" users, (on the way up|inside the bracket|again, to confirm): \d+ streams"
    program.until(lambda shown: re.search(r"●.*\n.*" + level, shown) is not None)
    program.press(b"\x03")
    assert program.end() == 3
    assert "The search was ended early: interrupted. This is what is known so far." in program.terminal.text
    assert "Traceback" not in program.terminal.text
    assert "●" not in program.terminal.text, "the bracket is gone"
    assert re.search(level, program.terminal.text) is None, "and what stood below it"
    assert "\x1b[?" not in program.written, "nothing that a kill would leave behind"
    with contextlib.closing(sqlite3.connect(tmp_path / "run.db")) as connection:
        assert connection.execute("SELECT status FROM runs").fetchall() == [("finished",)]


@pytest.mark.parametrize(
    ("words", "config", "said"),
    [
        (
            ["--at-least", "9", "--max-users", "8"],
            CONFIG,
            "--at-least 9: no more than 8 are allowed: raise --max-users",
        ),
        (
            ["--sweep", "10,20", "--max-users", "15"],
            CONFIG,
            "--sweep 20: no more than 15 are allowed: raise --max-users",
        ),
        (["--sweep", "10,x"], CONFIG, "write numbers of users with commas between them"),
        ([], "", "capacity needs a rule that fails"),
        ([], '[[sla]]\nrule = "mean(ttft) < 1s"', "says nothing of one stream"),
        (["--output", "badge=x.svg"], CONFIG, "capacity writes json, junit, markdown, text and github"),
        (["--scenario", "chta"], CONFIG, "no scenario called 'chta'"),
        (["--max-cost", "1"], CONFIG, "what a token costs is unknown"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], config: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "streamgauge.toml").write_text(config)
    ended = command("streamgauge", "capacity", "http://127.0.0.1:9", *words, cwd=tmp_path)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
