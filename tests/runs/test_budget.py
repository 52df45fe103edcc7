"""A run ends when its budget is spent: cleanly, with all that it saw, and without a verdict that says MET."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.support.command import HASTY, command
from tests.support.reference import ReferenceServer

CONFIG = """
[target]
max_tokens = 4
[target.prices]
input = 1000000
output = 1000000
[[sla]]
rule = "max(ttft) < 60s"
"""


@pytest.mark.usefixtures("before_others")
def test_a_run_ends_when_its_budget_is_spent_over_all_its_workers(server: ReferenceServer, tmp_path: Path) -> None:
    """A token costs 1 USD, so the budget of money is that of tokens, and the cost is what the streams used."""
    (tmp_path / "streamgauge.toml").write_text(CONFIG)
    (tmp_path / "hasty.py").write_text(HASTY)
    ended = command(
        "streamgauge", "run", "hasty.py", "--host", server.url, "--users", 6, "--spawn-rate", 6, "--run-time", "20m",
        "--max-cost", 20_000, "--db", "run.db", "--json", "run.json", "--report", "run.html", "--", "--processes", 2,
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "streamgauge: the budget of 20,000.00 USD was spent after" in ended.stderr
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["run"]["status"] == "aborted"
    assert document["run"]["seconds"] < 1_000
    assert document["verdict"] in {"inconclusive", "invalid"}  # invalid: other programs had the cores, too
    assert document["verdicts"][0]["status"] == "met"
    reasons = [document["reason"], *document["validity"]["reasons"]]
    early = "the run was ended early: the budget of 20,000.00 USD was spent after "
    assert any(reason.startswith(early) for reason in reasons)
    assert "then ended by its budget" in (tmp_path / "run.html").read_text()
    with sqlite3.connect(tmp_path / "run.db") as connection:
        used, largest = connection.execute(
            "SELECT sum(ifnull(input_tokens, 0) + ifnull(output_tokens, 0)), max(input_tokens + output_tokens) "
            "FROM streams"
        ).fetchone()
    connection.close()
    assert document["cost"]["total"] == used
    # The users' open streams, and what ended in the second before: at 0.4 s for a stream, three for each user.
    assert document["run"]["instrument"]["budget"]["cost"] >= 20_000
    assert used <= 20_000 + 6 * 10 * largest


LAST_QUESTION = """
from gevent.event import Event
from locust import events
from streamgauge.scenario import StreamUser, task

over = Event()
events.test_stopping.add_listener(lambda **_: over.set())

class Late(StreamUser):
    @task
    def ask(self):
        over.wait()
        self.stream()
"""


def test_what_ends_after_the_run_has_ended_by_itself_ends_it_no_more(server: ReferenceServer, tmp_path: Path) -> None:
    (tmp_path / "streamgauge.toml").write_text(CONFIG)
    (tmp_path / "late.py").write_text(LAST_QUESTION)
    ended = command(
        "streamgauge", "run", "late.py", "--host", server.url, "--users", 1, "--run-time", "1s",
        "--max-tokens-spent", 1, "--db", "run.db", "--json", "run.json", "--", "--stop-timeout", 60,
        cwd=tmp_path,
    )  # fmt: skip
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["run"]["status"] == "finished", ended.stderr
    assert document["run"]["instrument"]["budget"]["tokens"] > 1
    assert "was spent after" not in ended.stderr


ABORT = """
[[sla]]
rule = "max(ttft) < 1ms"
abort = true
grace = "1ms"
"""


def test_a_budget_that_is_spent_after_a_rule_has_ended_the_run_did_not_end_it(
    server: ReferenceServer, tmp_path: Path
) -> None:
    (tmp_path / "streamgauge.toml").write_text(CONFIG + ABORT)
    costly = 'self.stream("Hi")\n        over.wait()\n        self.stream("word " * 5_000)'
    (tmp_path / "late.py").write_text(LAST_QUESTION.replace("over.wait()\n        self.stream()", costly))
    ended = command(
        "streamgauge", "run", "late.py", "--host", server.url, "--users", 1, "--run-time", "20m",
        "--max-tokens-spent", 1_000, "--db", "run.db", "--json", "run.json", "--report", "run.html",
        "--", "--stop-timeout", 60,
        cwd=tmp_path,
    )  # fmt: skip
    document = json.loads((tmp_path / "run.json").read_text())
    assert "max(ttft) < 1ms was missed after" in ended.stderr
    budget = document["run"]["instrument"]["budget"]
    assert budget["tokens"] > 1_000
    assert budget["spent"] is False
    assert document["verdict"] in {"missed", "invalid"}  # invalid: other programs had the cores, too
    assert "then ended early" in (tmp_path / "run.html").read_text()
