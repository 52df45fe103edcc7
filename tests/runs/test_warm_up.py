"""A run with a warm-up: a server that is slow at first meets a rule that the same run misses without the warm-up."""

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.busy import again_if_busy
from tests.support.command import HASTY, command, invoke
from tests.support.reference import reference_server

CONFIG = """
[target]
max_tokens = 4
[load]
arrivals = "constant"
rate = 8
warm_up = "10s"
[[sla]]
rule = "p90(ttft) < 1s"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one run on a server that is slow for its first seconds. Two workers serve an open load."""
    folder = tmp_path_factory.mktemp("warm-up")
    (folder / "streamgauge.toml").write_text(CONFIG)
    (folder / "hasty.py").write_text(HASTY)
    slow_at_first = ("--preset", "exact", "--ttft", "50ms", "--itl", "80ms", "--fault", "stall:1500ms@0:0s-10s")

    def attempt() -> "subprocess.CompletedProcess[str]":
        (folder / "run.db").unlink(missing_ok=True)
        with reference_server(*slow_at_first) as server:
            return command(
                "streamgauge", "run", "hasty.py", "--host", server.url, "--users", "40", "--run-time", "18s",
                "--db", "run.db", "--json", "run.json", "--", "--processes", "2", cwd=folder,
            )  # fmt: skip

    ended = again_if_busy(attempt)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder / "lines.txt").write_text(ended.stderr)
    return folder


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as connection:
        return connection.execute(sql).fetchall()


def test_a_server_that_is_slow_at_first_meets_a_rule_after_the_warm_up(folder: Path) -> None:
    document = json.loads((folder / "run.json").read_text())
    assert (document["verdict"], document["validity"]["status"]) != ("met", "invalid")
    assert document["verdict"] == "met"
    assert document["warm_up"]["seconds"] == 10
    assert document["warm_up"]["outcomes"]["completed"] > 50
    assert document["metrics"]["ttft"]["n"] > 50
    assert document["run"]["fingerprint"]["warm_up"] == "10s"
    (slowest,) = rows(folder / "run.db", "SELECT max(ttft_ms) FROM stream_metrics")[0]
    (slowest_stored,) = rows(folder / "run.db", "SELECT max(first_content_at - due_at) / 1e6 FROM streams")[0]
    assert slowest < 1_500 < slowest_stored


def test_the_same_run_misses_the_rule_without_the_warm_up(folder: Path) -> None:
    path = Path(shutil.copy(folder / "run.db", folder / "without.db"))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE runs SET measured_from = NULL")
    connection.close()
    judged = invoke("judge", path)
    assert judged.exit_code == 1, judged.output


def test_arrivals_of_the_warm_up_are_in_no_drop_rate(folder: Path) -> None:
    """Each measured arrival was served, and began a stream that the workers' counts agree with."""
    (arrivals,) = rows(
        folder / "run.db",
        "SELECT sum(most) FROM (SELECT max(value) AS most FROM samples WHERE name = 'arrivals' GROUP BY worker)",
    )[0]
    (streams,) = rows(folder / "run.db", "SELECT count(*) FROM stream_metrics")[0]
    assert abs(arrivals - streams) <= 16, "the last samples of the two workers are up to a second old"


def test_live_figures_say_that_the_run_is_warming_up(folder: Path) -> None:
    lines = [line for line in (folder / "lines.txt").read_text().splitlines() if " users  " in line]
    assert any("warm-up: " in line for line in lines)
    assert any(" completed, " in line for line in lines)


def test_a_run_with_a_warm_up_is_not_compared_with_one_without(folder: Path) -> None:
    path = Path(shutil.copy(folder / "run.db", folder / "two.db"))
    with sqlite3.connect(path) as connection:  # the run as it would be without the warm-up, beside the run itself
        columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)") if row[1] not in {"number", "id"}]
        names = ", ".join(columns)
        connection.execute(f"INSERT INTO runs (id, {names}) SELECT 'other', {names} FROM runs")
        connection.execute("UPDATE streams SET run = 2 WHERE id % 2")
        connection.execute("UPDATE runs SET instrument = json_remove(instrument, '$.streams')")
        connection.execute("UPDATE runs SET fingerprint = json_remove(fingerprint, '$.warm_up') WHERE number = 2")
    connection.close()
    accepted = invoke(
        "baseline", "accept", path, "--name", "main", "--run", "other", "--force", "its samples are those of the first"
    )
    assert accepted.exit_code == 0, accepted.output
    compared = invoke("compare", path, "--baseline", "main", "--run", "hasty")
    assert compared.exit_code == 2
    assert "warm_up" in compared.stderr
