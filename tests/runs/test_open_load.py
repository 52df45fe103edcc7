"""Open load: streams are due on a schedule, whatever the server does, and nothing of it is lost in silence."""

import json
import os
import signal
import sqlite3
import time
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest

from streamgauge.harness.config.schema import Load
from streamgauge.harness.drive import schedule
from tests.support.busy import ended_well
from tests.support.command import Running, count, enough, processes, running, until, until_told
from tests.support.reference import ReferenceServer, reference_server, wait_for

pytestmark = pytest.mark.usefixtures("before_others")

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/result.schema.json").read_text())
CONFIG = '[target]\nmax_tokens = 3\n[[sla]]\nrule = "max(ttft) < 20s"\n'
CROWD = """
from streamgauge.scenario import StreamUser, between, task

class Long(StreamUser):
    weight = 3
    wait_time = between(10, 20)
    prompts = "long"

    @task
    def ask(self):
        self.stream()

class Short(Long):
    weight = 1
    prompts = "short"
"""
# The workers do not end at the same moment.
ALL_AT_WORK = """
WHERE due_at <= (SELECT min(last) FROM (SELECT max(due_at) AS last FROM streams GROUP BY worker)) ORDER BY due_at
"""
REGULAR = """
class Regular(StreamUser):
    fixed_count = 1

    @task
    def ask(self):
        self.stream()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "streamgauge.toml").write_text(CONFIG)
    (tmp_path / "crowd.py").write_text(CROWD)
    return tmp_path


def ended(run: Running) -> tuple[int, str, str]:
    output, errors = run.communicate()
    return run.wait(), " ".join(output.split()), errors


def rows(database: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(sql).fetchall()
    except sqlite3.OperationalError:  # not there yet
        return []
    finally:
        connection.close()


def expected(load: Load, seed: int, number: int) -> list[int]:
    """When the first arrivals of a schedule are due, ns from its start."""
    found = schedule.find(load)
    assert found is not None
    return [round(at * 1e9) for at in islice(found.times(Random(f"{seed}/arrivals")), number)]


# whole runs


def test_a_schedule_is_divided_among_processes_and_the_requests_stay_the_same(
    server: ReferenceServer, folder: Path
) -> None:
    load = (
        "-f", "crowd.py", "--headless", "-H", server.url, "--gauge-arrivals", "poisson", "--gauge-rate", 30,
        "--gauge-seed", 5,
    )  # fmt: skip
    both = [(*load, "--gauge-db", "one.db"), (*load, "--gauge-db", "two.db", *processes(2))]
    (folder / "crowd.py").write_text(until_told(CROWD))
    with running("locust", *both[0], cwd=folder) as one, running("locust", *both[1], cwd=folder) as two:
        until(lambda: min(count(folder / "one.db", "streams"), count(folder / "two.db", "streams")) > 90)
        enough(folder)
        runs = one.ended(), two.ended()
    for run, name in zip(runs, ("one.db", "two.db"), strict=True):
        assert ended_well(run.returncode, folder / name), run.stdout + run.stderr
    asked = []
    for name in ("one.db", "two.db"):
        found = rows(folder / name, f"SELECT due_at, worker, user, input_tokens FROM streams {ALL_AT_WORK}")
        assert len(found) > 60, "those that were due before a worker ended"
        assert rows(folder / name, "SELECT sum(value) FROM samples WHERE name = 'dropped_arrivals'") == [(0,)]
        times = expected(Load(arrivals="poisson", rate=30), 5, len(found))
        assert [due - found[0][0] for due, *_ in found] == [at - times[0] for at in times], "each of them, and once"
        workers = [worker for _, worker, *_ in found]
        processes_ = len(set(workers))
        assert all(len(set(workers[first::processes_])) == 1 for first in range(processes_)), "every n-th arrival"
        asked.append([(user, tokens) for *_, user, tokens in found if tokens is not None])
    whole = min(map(len, asked)) - 20  # the last ones were cut off by the run's end
    assert {user for user, _ in asked[0]} == {"Long", "Short"}
    assert asked[0][:whole] == asked[1][:whole]


def test_arrivals_go_on_while_the_server_stalls(folder: Path) -> None:
    database = folder / "run.db"
    with reference_server("--preset", "exact", "--ttft", "50ms", "--itl", "30ms") as frail, running(
        "streamgauge", "run", "crowd.py", "--host", frail.url, "--arrivals", "constant", "--rate", 20,
        "--run-time", "12s", "--db", database, "--report", "run.html", "--all",
        cwd=folder,
    ) as run:  # fmt: skip
        due = "SELECT coalesce(max(value), 0) FROM samples WHERE name = 'arrivals'"
        wait_for(lambda: bool(rows(database, "SELECT 1 FROM streams WHERE outcome = 'completed'")))
        os.kill(frail.process.pid, signal.SIGSTOP)
        stood_still = time.time_ns()
        try:
            ((before,),) = rows(database, due)
            wait_for(lambda: rows(database, due)[0][0] > before + 45)  # a closed load would be silent now
        finally:
            goes_on = time.time_ns()
            os.kill(frail.process.pid, signal.SIGCONT)
        code, output, errors = ended(run)
    assert ended_well(code, database), (output, errors)
    first, came = zip(
        *rows(database, "SELECT due_at, first_content_at FROM streams WHERE first_content_at IS NOT NULL ORDER BY 1"),
        strict=True,
    )
    assert {later - one for one, later in pairwise(first)} == {50_000_000}, "none is missing, and none was put off"
    ((zero,),) = rows(database, "SELECT realtime_ns FROM runs")
    meanwhile = [at for since, at in zip(first, came, strict=True) if stood_still < zero + since < goes_on]
    assert len(meanwhile) > 20, "those who came while it stood still"
    assert zero + min(meanwhile) > goes_on, "all of them waited until it went on"
    assert "late_rate" in output
    assert "drop rate" not in output
    assert "<html" in (folder / "run.html").read_text()


def test_a_run_by_a_schedule_file_ends_with_its_last_answer_and_spares_users_with_a_fixed_count(
    server: ReferenceServer, folder: Path
) -> None:
    (folder / "times.txt").write_text("0\n0.25\n0.25\n3\n")
    (folder / "streamgauge.toml").write_text(f'{CONFIG}[load]\narrivals = "file:times.txt"\n')
    (folder / "crowd.py").write_text(CROWD + REGULAR)
    with running("streamgauge", "run", "crowd.py", "--host", server.url, "--db", "run.db", cwd=folder) as run:
        code, output, errors = ended(run)
    assert ended_well(code, folder / "run.db"), (output, errors)
    found = rows(folder / "run.db", "SELECT due_at, outcome FROM streams WHERE user != 'Regular' ORDER BY due_at")
    assert [due - found[0][0] for due, _ in found] == [0, 250_000_000, 250_000_000, 3_000_000_000]
    assert {outcome for _, outcome in found} == {"completed"}
    (regular,) = rows(folder / "run.db", "SELECT count(*) FROM streams WHERE user = 'Regular'")[0]
    assert regular > 4, "asks on as soon as it has an answer"
    (fingerprint,) = rows(folder / "run.db", "SELECT fingerprint FROM runs")[0]
    assert json.loads(fingerprint)["load"]["arrivals"].startswith("times.txt#")


def test_dropped_arrivals_are_in_the_result_and_lower_its_validity(server: ReferenceServer, folder: Path) -> None:
    with running(
        "streamgauge", "run", "crowd.py", "--host", server.url, "--arrivals", "constant", "--rate", 40, "--users", 4,
        "--run-time", "3s", "--db", "run.db", "--json", "run.json",
        cwd=folder,
    ) as run:  # fmt: skip
        code, output, errors = ended(run)
    assert code == 3, errors
    result = json.loads((folder / "run.json").read_text())
    jsonschema.validate(result, SCHEMA)
    (due,) = rows(folder / "run.db", "SELECT max(value) FROM samples WHERE name = 'arrivals'")[0]
    (begun,) = rows(folder / "run.db", "SELECT count(*) FROM streams")[0]
    assert result["metrics"]["drop_rate"] == {"unit": "ratio", "value": (due - begun) / due, "n": due}
    assert result["verdict"] == "invalid"
    (reason,) = [each for each in result["validity"]["reasons"] if "dropped" in each]
    assert reason.startswith(f"{due - begun:.0f} of {due:.0f} arrivals (")
    assert reason in output
