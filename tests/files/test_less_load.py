"""A run whose load was clearly less than the load that was asked for is INVALID, and says by how much."""

from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.store import RunStatus, Store
from streamgauge.harness.judge.verdict.judgement import Judgement, RunVerdict, judge
from streamgauge.harness.judge.verdict.rules import parse_all
from tests.support.record import MS, database, ttfts

GOOD = ttfts(range(100, 400), output_tokens=3)
ALL_TEN = [10] * 60


def judged(path: Path, facts: dict[str, Any], users: list[int], status: RunStatus = "finished") -> Judgement:
    """A run of 60 s that met its rule, with these facts and samples of the number of users, one a second."""
    with Store.open(database(path / "run.db", GOOD)) as store:
        store.append("run-1", [], [("local", second * 1_000 * MS, "users", n) for second, n in enumerate(users, 1)])
        store.finish_run("run-1", ended_ns=60_000 * MS, status=status, instrument=facts)
        return judge(store, rules=parse_all([Sla(rule="max(ttft) < 1s")]))


@pytest.mark.parametrize(
    ("asked", "users", "reason"),
    [
        (
            {"users": 100, "spawn_rate": 1.0, "seconds": 60},
            list(range(1, 61)),
            "only 60 of 100 users that were asked for ran at once: at 1 started per second, all are there after 100 s",
        ),
        ({"users": 10, "spawn_rate": 10.0, "seconds": 60}, [9] * 60, "only 9 of 10 users that were asked for ran"),
        ({"users": 10, "spawn_rate": 10.0, "seconds": 60}, [0] * 60, "only 0 of 10 users that were asked for ran"),
        (
            {"users": 10, "spawn_rate": 10.0, "seconds": 60},
            [10] * 30 + [0] * 30,
            "49.6 % of the load that",
        ),
        ({"users": 10, "spawn_rate": 10.0, "seconds": 600}, ALL_TEN, "ended after 60 s of the 600 s that were asked"),
        ({"users": 40}, [30] * 60, "only 30 of 40 users"),  # with a shape
        ({"users": 10, "seconds": 60, "schedule_began": 25.0}, ALL_TEN, "the schedule began only after 25 s of 60 s"),
        ({"users": 10, "seconds": 60, "schedule_began": 60.0}, ALL_TEN, "the schedule began only after 60 s of 60 s"),
    ],
)
def test_a_run_with_clearly_less_load_is_invalid(tmp_path: Path, asked: object, users: list[int], reason: str) -> None:
    result = judged(tmp_path, {"asked": asked}, users)
    assert result.verdict is RunVerdict.INVALID
    assert reason in result.reason


@pytest.mark.parametrize(
    ("asked", "users"),
    [
        ({"users": 10, "spawn_rate": 1.0, "seconds": 60}, [*range(1, 11), *[10] * 50]),
        ({"users": 10, "spawn_rate": 10.0, "seconds": 60}, [0, 0, *[10] * 57, 0]),  # started and sampled late
        ({"users": 10, "spawn_rate": 10.0, "seconds": 62}, ALL_TEN),
        ({"users": 40}, [40] * 10 + [1] * 50),  # the shape wants no more later
        ({"users": 10, "seconds": 60, "schedule_began": 1.5}, [10, *[9] * 59]),
        ("nonsense", ALL_TEN),
        ({"users": "many"}, ALL_TEN),
    ],
)
def test_a_run_with_the_load_that_was_asked_for_is_valid(tmp_path: Path, asked: object, users: list[int]) -> None:
    result = judged(tmp_path, {"asked": asked}, users)
    assert result.verdict is RunVerdict.MET, result.reasons


def test_a_run_of_an_older_version_or_one_that_a_rule_ended_was_asked_for_nothing_that_is_known(tmp_path: Path) -> None:
    assert judged(tmp_path / "old", {}, [1] * 60).verdict is RunVerdict.MET
    asked = {"users": 10, "spawn_rate": 10.0, "seconds": 600}
    aborted = judged(tmp_path / "aborted", {"asked": asked, "aborted": "missed"}, [5], "aborted")
    assert aborted.verdict is RunVerdict.MISSED


def test_users_that_were_held_back_are_load_that_was_missing(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "run.db", GOOD)) as store:
        store.append("run-1", [], [("local", second * 1_000 * MS, "users", 10.0) for second in range(1, 11)])
        store.append("run-1", [], [("local", 5_000 * MS, "held_streams", 10.0)])
        result = judge(store, rules=parse_all([Sla(rule="max(ttft) < 1s")]))
    assert result.verdict is RunVerdict.INVALID
    assert "10.0 % of the load that was asked for was missing: users were held back" in result.reason
