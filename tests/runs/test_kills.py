"""SIGKILL at random moments: the database stays sound, what is lost is known, nothing goes on, and no such run is MET.

`make kills` tries 30 instead of 10. The seed is printed; STREAMGAUGE_KILLS=30:SEED takes the same moments again.
"""

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from random import SystemRandom
from typing import Any

import pytest

from tests.support.command import count, invoke, rows
from tests.support.killed import Killed, kill, plans, sent_to
from tests.support.reference import reference_server

NUMBER, _, _SEED = os.environ.get("STREAMGAUGE_KILLS", "10").partition(":")
AT_ONCE = 10
# What ended longer before the kill is stored: batches are delivered every half a second, and a busy machine needs some
# time to send and to commit them.
NOT_YET_STORED = 2.0  # seconds, beside those in which other programs had the cores


@dataclass(frozen=True)
class Seen:
    killed: list[Killed]
    truth: list[dict[str, Any]]
    seed: int


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    seed = int(_SEED) if _SEED else SystemRandom().randrange(10**6)
    print(f"STREAMGAUGE_KILLS={NUMBER}:{seed}")
    place = tmp_path_factory.mktemp("kills")
    with reference_server("--preset", "exact", "--ttft", "60ms", "--itl", "40ms") as server:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            killed = list(pool.map(lambda plan: kill(plan, server.url, place), plans(seed, int(NUMBER))))
        yield Seen(killed, server.truth(), seed)


@pytest.fixture(params=range(int(NUMBER)))
def killed(seen: Seen, request: pytest.FixtureRequest) -> Killed:
    found: Killed = seen.killed[request.param]
    print(f"seed {seen.seed}: {found.plan}, in time: {found.in_time}, exit code {found.exit_code}: {found.said}")
    return found


def status_of(killed: Killed) -> str:
    """Of the run in the database; "" if it holds none."""
    return str(rows(killed.database, "SELECT status FROM runs")[0][0]) if count(killed.database, "runs") else ""


def test_nothing_goes_on_after_a_kill_and_what_survives_says_so(killed: Killed) -> None:
    assert killed.left == [], "processes that the killed one had started"
    assert "Traceback" not in killed.said, killed.said
    if not killed.in_time:
        assert killed.exit_code in {0, 1, 3}, killed.said  # on a busy machine, so short a run may bring nothing
        assert status_of(killed) == "finished"
    elif killed.plan.victim in {"local", "master"}:
        assert killed.exit_code == 2
        assert "the process -m streamgauge.harness.run was killed by SIGKILL" in killed.said
        assert "has no end and no verdict" in killed.said


def test_the_database_is_sound_and_can_be_judged_and_reported(killed: Killed) -> None:
    if not killed.database.exists():
        assert killed.plan.early
        return
    with closing(sqlite3.connect(killed.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    judged = invoke("judge", killed.database)
    reported = invoke("report", killed.database, "-o", killed.folder / "again.html")
    match status_of(killed):
        case "":
            assert judged.exit_code == reported.exit_code == 2
            assert "holds no run yet" in judged.stderr
        case "running":
            assert judged.exit_code == 3, judged.output
            assert "INVALID" in judged.stdout
            assert "the run has no recorded end" in judged.stdout
            assert reported.exit_code == 0, reported.output
            assert "the run has no recorded end" in (killed.folder / "again.html").read_text()
        case _:
            assert reported.exit_code == 0, reported.output
            if killed.exit_code is not None and killed.plan.victim == "worker":
                assert judged.exit_code == killed.exit_code, judged.output


def test_only_what_was_not_yet_stored_is_lost_and_nothing_is_there_twice(killed: Killed, seen: Seen) -> None:
    sent, allowed = sent_to(killed.plan.name, seen.truth), NOT_YET_STORED + killed.withheld
    if not count(killed.database, "runs"):
        assert not sent or killed.at - min(row["ended_at"] for row in sent.values()) < allowed * 1e9
        return
    names = [name for (name,) in rows(killed.database, "SELECT request_id FROM streams")]
    stored = [name for name in names if name is not None]
    assert len(stored) == len(set(stored))
    assert set(stored) <= sent.keys()
    lost = [row for name, row in sent.items() if name not in set(stored) and row["outcome"] == "completed"]
    oldest = max(((killed.at - row["ended_at"]) / 1e9 for row in lost), default=0.0)
    print(f"{killed.plan}: {len(lost)} of {len(sent)} lost, the oldest {oldest:.2f} s before the kill")
    assert oldest < allowed
    if not killed.in_time:
        # The server may have sent the whole of an answer of which the end of the run came before its head was read.
        assert len(lost) <= names.count(None)


def test_a_run_that_lost_a_worker_says_how_many_streams_that_cost(killed: Killed, seen: Seen) -> None:
    if killed.plan.victim != "worker" or status_of(killed) != "finished":
        return
    names = [name for (name,) in rows(killed.database, "SELECT request_id FROM streams")]
    # A stream that the end of the run cut off before its headers has a row without a name.
    lost = len(sent_to(killed.plan.name, seen.truth).keys() - set(names)) - names.count(None)
    ((notes,),) = rows(killed.database, "SELECT notes FROM runs")
    if lost > 0:
        found = re.search(r"worker-\d was lost, and with it (?:\d+ to (\d+)|an unknown number of) streams", notes)
        assert found is not None, notes
        assert found[1] is None or lost <= int(found[1]), notes
    result = json.loads((killed.folder / "result.json").read_text())
    if killed.plan.early:
        assert lost <= 0 or result["verdict"] == "invalid", "half of the load was missing from the beginning"


def test_a_result_that_was_being_written_is_there_whole_or_not_at_all(killed: Killed) -> None:
    page, result = killed.folder / "page.html", killed.folder / "result.json"
    if page.exists():
        assert page.read_text().rstrip().endswith("</html>")
    if result.exists():
        assert result.read_text().rstrip().endswith("}")
