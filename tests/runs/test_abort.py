"""Rules with `abort`: a run that is ended by one keeps all that it saw."""

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.support.busy import again_if_busy, only_busy
from tests.support.command import command
from tests.support.reference import ReferenceServer

RULES = """
[target]
headers = { "x-gauge-fault" = "http_503" }
[[sla]]
rule = "error_rate < 20%"
abort = true
grace = "{grace}"
[[sla]]
rule = "max(ttft) < 60s"
"""
VERDICTS = {1: "missed", 3: "invalid"}  # invalid: other programs had the cores, too
HASTY = """
from streamgauge.scenario import StreamUser, between, task

class Hasty(StreamUser):
    wait_time = between(0.05, 0.1)

    @task
    def ask(self):
        self.stream()
"""


def run(folder: Path, server: ReferenceServer, *words: object) -> "subprocess.CompletedProcess[str]":
    def attempt() -> "subprocess.CompletedProcess[str]":
        (folder / "run.db").unlink(missing_ok=True)
        return command(
            "streamgauge", "run", "hasty.py", "--host", server.url, "--users", 5, "--spawn-rate", 5,
            "--config", "rules.toml", "--db", "run.db", *words,
            cwd=folder,
        )  # fmt: skip

    return again_if_busy(attempt)


# Locust's workers stand still for half a second before their first user, which must not be much of the run.
@pytest.mark.parametrize(
    ("processes", "grace", "wait"),
    [([], "1s", "between(0.05, 0.1)"), (["--processes", "2"], "9s", "between(0.4, 0.5)")],
    ids=["local", "workers"],
)
def test_a_run_that_misses_an_abort_rule_ends_early_and_keeps_its_streams(
    server: ReferenceServer, processes: list[str], grace: str, wait: str, tmp_path: Path
) -> None:
    (tmp_path / "rules.toml").write_text(RULES.replace("{grace}", grace))
    (tmp_path / "hasty.py").write_text(HASTY.replace("between(0.05, 0.1)", wait))
    ended = run(
        tmp_path, server, "--run-time", "20m", "--keep-going", "--json", "run.json", "--report", "run.html",
        "--", *processes,
    )  # fmt: skip
    assert ended.returncode == 1 or only_busy(ended), ended.stdout + ended.stderr
    assert "error_rate < 20% was missed after" in ended.stderr
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["run"]["status"] == "aborted"
    assert document["run"]["seconds"] < 1_000, "it would have taken 1,200"
    assert document["verdict"] == VERDICTS[ended.returncode]
    assert document["verdicts"][0]["status"] == "missed"
    assert any("the run was ended early" in reason for reason in document["validity"]["reasons"])
    with sqlite3.connect(tmp_path / "run.db") as connection:
        (streams,) = connection.execute("SELECT count(*) FROM streams").fetchone()
    connection.close()
    assert streams == sum(document["outcomes"].values()) > 10
    assert "then ended early" in (tmp_path / "run.html").read_text()


@pytest.mark.parametrize("processes", [[], ["--processes", "2"]], ids=["local", "workers"])
def test_a_run_whose_first_streams_all_fail_alike_ends_at_once_and_says_what_to_check(
    server: ReferenceServer, processes: list[str], tmp_path: Path
) -> None:
    """Issue 17, 12: a wrong key cost the whole run, and the reason was only in the report."""
    (tmp_path / "rules.toml").write_text(
        '[target]\nheaders = { "x-gauge-fault" = "http_401" }\n[[sla]]\nrule = "error_rate < 1%"\n'
    )
    (tmp_path / "hasty.py").write_text(HASTY)
    ended = run(tmp_path, server, "--run-time", "10m", "--json", "run.json", "--", *processes)
    assert ended.returncode == 1 or only_busy(ended), ended.stdout + ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "all failed alike" in line]
    assert "refused: HTTP 401" in line
    assert "check the key: headers in [target] of streamgauge.toml" in line
    assert "--keep-going continues such a run" in line
    document = json.loads((tmp_path / "run.json").read_text())
    assert (document["run"]["status"], document["verdict"]) == ("aborted", VERDICTS[ended.returncode])
    assert document["failures"][0]["http_status"] == 401
    assert "refused: HTTP 401" in ended.stdout


def test_builds_of_which_one_run_was_aborted_are_not_compared(server: ReferenceServer, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES.replace("{grace}", "1s"))
    (tmp_path / "hasty.py").write_text(HASTY)
    ended = command(
        "streamgauge", "ab", "hasty.py", "--a", server.url, "--b", server.url, "--users", 5, "--spawn-rate", 5,
        "--run-time", "20m", "--config", "rules.toml", "--db", "run.db",
        cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert ended.stderr.splitlines()[-1] == "streamgauge: a run did not finish, so there is nothing to compare"
    with sqlite3.connect(tmp_path / "run.db") as database:
        assert database.execute("SELECT status FROM runs").fetchall() == [("aborted",)], "the series ends with it"
    database.close()
