"""Whole runs of people whose connections break, and who come back: the real command, two processes, a real server."""

from itertools import pairwise
from pathlib import Path

from tests.support.command import count, enough, processes, rows, running, until, until_told
from tests.support.reference import counts, reference_server

TOKENS = 20
PHONES = """
from streamgauge.scenario import StreamUser, between, task

class Phone(StreamUser):
    wait_time = between(0.2, 0.2)
    network = "cells"
    behaviour = "reconnects"

    @task
    def ask(self):
        self.stream()
"""
SEEN = {  # rows that the run has to bring, and more than how many
    "streams WHERE resumed_from IS NOT NULL": 3,
    "streams WHERE outcome = 'reset'": 0,
    "streams WHERE outcome = 'cancelled'": 0,
    "(SELECT 1 FROM streams GROUP BY request_id HAVING count(*) > 1 AND max(outcome = 'completed'))": 0,
}
CELLS = """
[networks.cells]
rtt = "100ms"
handovers = { every = "1s", resets = 1.0 }
"""


def test_broken_answers_are_resumed_and_nobody_asks_before_their_link_has_delivered(tmp_path: Path) -> None:
    (tmp_path / "phones.py").write_text(until_told(PHONES))
    (tmp_path / "cells.toml").write_text(CELLS)
    answers = ("--preset", "exact", "--ttft", "100ms", "--itl", "20ms", "--tokens", str(TOKENS), "--resumable", "10s")
    with reference_server(*answers, "--fault", "reset:every=4") as server:
        with running(
            "locust", "-f", "phones.py", "--headless", "-u", 8, "-r", 8, "-H", server.url,
            "--gauge-config", "cells.toml", "--gauge-db", "run.db", *processes(2),
            cwd=tmp_path,
        ) as run:  # fmt: skip
            until(lambda: all(count(tmp_path / "run.db", each) > few for each, few in SEEN.items()))
            enough(tmp_path)
            ended = run.ended()
        resumed = counts(server.url)["reference_streams_resumed_total"]
    assert ended.returncode in {0, 3}, ended.stderr
    database = tmp_path / "run.db"
    gone_on = rows(
        database,
        "SELECT resume_lost, resume_duplicated, resume_gap, labels LIKE '%reconnect%' FROM streams"
        " WHERE resumed_from IS NOT NULL",
    )
    assert 3 < len(gone_on) <= resumed
    assert {(lost, twice, labelled) for lost, twice, _, labelled in gone_on} == {(0, 0, 1)}
    # The server's `retry:` is half a second; a few tokens may have been on the way.
    assert all(gap is None or gap > 500_000_000 for _, _, gap, _ in gone_on)
    pieces = rows(
        database,
        "SELECT sum(content_chunks), max(outcome = 'completed'), count(*) FROM streams WHERE request_id IS NOT NULL"
        " GROUP BY request_id",
    )
    whole = [(chunks, count) for chunks, completed, count in pieces if completed]
    assert {chunks for chunks, _ in whole} == {TOKENS}
    assert max(count for _, count in whole) > 1
    # Both ends of a connection: what a link broke is nobody's failure, what the server reset is its own.
    outcomes = dict(rows(database, "SELECT outcome, count(*) FROM streams GROUP BY outcome"))
    assert {"completed", "cancelled", "reset"} <= outcomes.keys() <= {"completed", "cancelled", "reset", "interrupted"}


def test_think_time_begins_when_the_link_has_delivered_the_answer(tmp_path: Path) -> None:
    slow = PHONES.replace('"reconnects"', '"patient"').replace('"cells"', '"slow_3g"')
    (tmp_path / "phones.py").write_text(until_told(slow))
    with reference_server("--preset", "exact", "--ttft", "10ms", "--itl", "5ms", "--tokens", "20") as server:
        words = ("-f", "phones.py", "--headless", "-u", 1, "-r", 1, "-H", server.url, "--gauge-db", "run.db")
        with running("locust", *words, cwd=tmp_path) as run:
            until(lambda: count(tmp_path / "run.db", "streams") > 2)
            enough(tmp_path)
            ended = run.ended()
    assert ended.returncode in {0, 3}, ended.stderr
    streams = rows(tmp_path / "run.db", "SELECT due_at, last_content_at, ended_at FROM streams ORDER BY sequence")
    assert len(streams) > 2
    for (_, last, over), (due, _, _) in pairwise(streams):
        assert last <= over
        assert due - over >= 200_000_000
