"""Whole runs of people whom the server refuses: when they ask again, and what the record has of every try."""

from itertools import pairwise
from pathlib import Path
from statistics import median

from tests.support.command import HASTY, count, enough, rows, running, until, until_told
from tests.support.reference import counts, reference_server

SECOND = 1_000_000_000

TRIES = """
from streamgauge.scenario import StreamUser, between, task

class Person(StreamUser):
    abstract = True
    fixed_count = 1
    wait_time = between(0.05, 0.1)

    @task
    def ask(self):
        self.stream()

class Polite(Person):
    behaviour = "polite_retry"

class Stormy(Person):
    behaviour = "retry_storm"

class Patient(Person):
    pass
"""


def test_refused_requests_are_retried_by_retry_after_or_at_once_and_each_refusal_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "tries.py").write_text(until_told(TRIES))
    quick = ("--preset", "exact", "--ttft", "20ms", "--itl", "5ms", "--tokens", "20")
    with reference_server(*quick, "--fault", "http_503:2s:0.5") as server:
        words = ("-f", "tries.py", "--headless", "-H", server.url, "-u", 3, "-r", 3, "--gauge-db", "run.db")
        with running("locust", *words, cwd=tmp_path) as run:
            again = ("user = 'Polite' AND labels LIKE '%retry%'", "user = 'Stormy' AND labels LIKE '%retry%'")
            seen = (*again, "user = 'Patient' AND outcome = 'refused'", "outcome = 'completed'")
            until(lambda: all(count(tmp_path / "run.db", f"streams WHERE {each}") > 1 for each in seen))
            enough(tmp_path)
            ended = run.ended()
        refused = counts(server.url)["reference_faults_total:http_503"]
        answered = counts(server.url)["reference_streams_started_total"]
    assert ended.returncode == 3, ended.stderr
    waits: dict[str, list[int]] = {}
    for name in ("Polite", "Stormy"):
        tries = rows(
            tmp_path / "run.db",
            f"SELECT due_at, ended_at, outcome, labels LIKE '%retry%' FROM streams WHERE user = '{name}' ORDER BY 1",
        )
        for (_, over, outcome, _), (due, _, _, again) in pairwise(tries):
            assert outcome == "refused" or not again
            if again:
                waits.setdefault(name, []).append(due - over)
    assert min(waits["Polite"]) >= 2 * SECOND, "the server said so"
    assert min(waits["Stormy"]) >= 50_000_000
    assert median(waits["Stormy"]) < 2 * SECOND, "whatever it said"
    assert rows(
        tmp_path / "run.db", "SELECT count(*) FROM streams WHERE labels LIKE '%retry%' AND user = 'Patient'"
    ) == [(0,)]
    outcomes = dict(rows(tmp_path / "run.db", "SELECT outcome, count(*) FROM streams GROUP BY outcome"))
    # The end of the run can come between the server's answer and its reading.
    assert outcomes["refused"] <= refused
    assert outcomes["completed"] <= answered
    assert refused + answered <= outcomes["refused"] + outcomes["completed"] + outcomes.get("interrupted", 0)
    assert rows(tmp_path / "run.db", "SELECT DISTINCT content_chunks FROM streams WHERE outcome = 'completed'") == [
        (20,)
    ]
    assert rows(tmp_path / "run.db", "SELECT DISTINCT content_chunks FROM streams WHERE outcome = 'refused'") == [(0,)]


def test_a_retry_storm_retries_at_once_and_each_try_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "storm.py").write_text(
        until_told(HASTY.replace("between(0, 0.05)", 'between(1, 2)\n    behaviour = "retry_storm"'))
    )
    with reference_server("--preset", "exact", "--tokens", "30", "--max-streams", "1") as busy:
        words = ("-f", "storm.py", "--headless", "-H", busy.url, "-u", 3, "-r", 3, "--gauge-db", "run.db")
        with running("locust", *words, cwd=tmp_path) as run:
            seen = {"http_status = 529": 3, "http_status = 200": 0}
            until(lambda: all(count(tmp_path / "run.db", f"streams WHERE labels LIKE '%retry%' AND {each}") > few
                              for each, few in seen.items()))  # fmt: skip
            enough(tmp_path)
            ended = run.ended()
    assert ended.returncode in {0, 1, 3}, ended.stderr
    tries = dict(
        rows(tmp_path / "run.db", "SELECT http_status, count(*) FROM streams WHERE labels LIKE '%retry%' GROUP BY 1")
    )
    assert tries[529] > 3, "each answer takes 800 ms; whoever else asks meanwhile asks every 50 to 250 ms"
    assert tries.get(200, 0) > 0, "and gets through in the end"
