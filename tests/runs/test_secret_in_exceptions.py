"""A scenario's own code raises and logs its key: no output and no file of the run holds it."""

from pathlib import Path

from tests.support.command import command, processes
from tests.support.reference import reference_server

KEY = "sk-Gauge/7f3a91c2d8e4+Qe5Zt8Lm"
CARELESS = """
import json
import logging
import os
from locust import events
from streamgauge.scenario import StreamUser, task

@events.test_start.add_listener
def note(**_):
    logging.getLogger("careless").warning("this run uses %s", os.environ["CARELESS_KEY"])

class Careless(StreamUser):
    @task
    def ask(self):
        key = os.environ["CARELESS_KEY"]
        self.stream()
        logging.getLogger("careless").warning("using %s", key.lower())
        raise RuntimeError("no access with " + json.dumps(key).replace("/", "\\\\/") + " or " + key.upper())
"""


def test_a_key_in_the_scenario_s_own_exceptions_is_shown_and_stored_nowhere(tmp_path: Path) -> None:
    """Neither by the worker, whose users raise it, nor by the master, which drives none and logs it."""
    (tmp_path / "careless.py").write_text(CARELESS)
    (tmp_path / "streamgauge.toml").write_text("[target]\nheaders = { authorization = 'Bearer ${CARELESS_KEY}' }\n")
    with reference_server("--preset", "exact", "--ttft", "50ms", "--itl", "2ms") as server:
        ended = command(
            *("streamgauge", "run", "careless.py", "--host", server.url, "--users", "2", "--run-time", "3s"),
            *("--db", "one.db", "--report", "page.html", "--json", "one.json", "--", *processes(1)),
            cwd=tmp_path,
            CARELESS_KEY=KEY,
        )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert "this run uses …" in ended.stderr
    reason = "the scenario's own code raised: careless.py:18: RuntimeError: no access with"
    assert reason in (tmp_path / "one.json").read_text()
    written = [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir() if path.suffix not in {".py", ""}]
    for text in (ended.stdout, ended.stderr, *written):
        assert "7f3a91c2d8e4" not in text.lower()
