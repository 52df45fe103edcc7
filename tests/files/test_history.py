"""The history of runs: levels, days, accepted baselines, and the page and the table that show them."""

import csv
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from streamgauge.harness.cli import main
from streamgauge.harness.judge.compare import baseline, history
from streamgauge.harness.judge.compare.change_points import change_points
from streamgauge.harness.judge.store import Store
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import MS, a_run, new_store, observation, ttfts

KIND = {"scenario": "chat", "load": {"users": 20}}
MARGIN = math.log(1.05)
DAY_NS = 86_400 * 10**9
NINE = 1_795_424_400_000_000_000  # in the morning of 2026-11-23, UTC


def add(store: Store, place: int, streams: Sequence[StreamObservation], **fields: Any) -> None:
    run = a_run(
        **{
            "id": f"run-{place:02}",
            "fingerprint": KIND,
            "started_at": f"2026-11-{23 + place // 4}T09:0{place % 4}:00+00:00",
            "realtime_ns": NINE + place // 4 * DAY_NS,
            "labels": {"commit": f"c{place}"},
            **fields,
        }
    )
    store.start_run(run)
    store.append(run.id, streams)
    store.finish_run(run.id, ended_ns=10_000 * MS, status=fields.get("status", "finished"))


def answers(place: int, ttft: float) -> list[StreamObservation]:
    draw = Random(place)
    typical = ttft * draw.gauss(1, 0.01)
    return ttfts([typical * draw.uniform(0.8, 1.2) for _ in range(80)])


@pytest.fixture(scope="module")
def thirteen_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("thirteen_runs") / "gauge.db"
    with new_store(path) as store:
        for place in range(12):
            broken = [observation([], outcome=Outcome.REFUSED, http_status=503, ended=5)] * (20 if place == 3 else 0)
            add(store, place, [*answers(place, 300 if place < 6 else 450), *broken])
        add(store, 12, answers(12, 900), fingerprint={"scenario": "other"})
        baseline.accept(store, "main", ["run-00", "run-01"])
    return path


@pytest.fixture
def database(thirteen_runs: Path, tmp_path: Path) -> Path:
    """Twelve runs on three days: 50 % slower from the seventh on; in the fourth, too many streams failed."""
    return Path(shutil.copy(thirteen_runs, tmp_path))


def read(path: Path) -> history.History:
    with Store.open(path) as store:
        return history.read(store, "run-00")


def test_a_new_level_is_found_where_it_begins(database: Path) -> None:
    found = read(database)
    changed = [point for point in found.points if point.change is not None]
    assert [point.run.id for point in changed] == ["run-06"]
    assert changed[0].change == pytest.approx(1.5, abs=0.03)


def test_a_run_with_an_infinite_percentile_is_shown_and_belongs_to_no_level(database: Path) -> None:
    bad = read(database).points[3]
    assert (bad.p95, bad.failed, bad.streams) == (math.inf, 20, 100)


def test_a_history_has_only_runs_of_the_same_work_with_their_baselines(database: Path) -> None:
    found = read(database)
    assert (len(found.points), found.others) == (12, 1)
    assert [point.baselines for point in found.points[:3]] == [("main",), ("main",), ()]


def test_each_day_has_its_streams_by_their_ttft(database: Path) -> None:
    days = read(database).days
    assert [day.date for day in days] == ["2026-11-23", "2026-11-24", "2026-11-25"]
    assert [day.failed for day in days] == [20, 0, 0]
    assert [sum(day.counts) for day in days] == [320, 320, 320]
    over_500_ms = [sum(day.counts[3:]) for day in days]
    assert over_500_ms[0] == 0
    assert over_500_ms[2] > 0


def test_a_stream_counts_on_the_day_on_which_it_was_due(tmp_path: Path) -> None:
    path = tmp_path / "night.db"
    with new_store(path) as store:
        hour = 3_600_000
        add(store, 0, [observation(due=0), observation(due=14 * hour), observation(due=16 * hour)])
    assert [(day.date, sum(day.counts)) for day in history.read(Store.open(path)).days] == [
        ("2026-11-23", 2),
        ("2026-11-24", 1),
    ]


def test_a_run_that_its_budget_ended_is_in_the_history_and_one_that_a_rule_ended_is_not(tmp_path: Path) -> None:
    with new_store(tmp_path / "spent.db") as store:
        add(store, 0, answers(0, 300))
        add(store, 1, answers(1, 300), status="aborted", instrument={"aborted": "a rule with abort was missed"})
        add(store, 2, answers(2, 300), status="aborted", instrument={"budget": {"spent": True}})
        assert [point.run.id for point in history.read(store).points] == ["run-00", "run-02"]


def test_equal_runs_rarely_have_a_change_point_and_changed_ones_have_one() -> None:
    draw = np.random.default_rng(3)
    equal = [bool(change_points(draw.normal(0, 0.05, 20), MARGIN)) for _ in range(200)]
    assert np.mean(equal) <= 0.02
    step = np.repeat([0, math.log(1.1)], 12)
    near = [change_points(step + draw.normal(0, 0.03, 24), MARGIN) for _ in range(100)]
    assert np.mean([len(found) == 1 and abs(found[0] - 12) <= 1 for found in near]) >= 0.9


def test_two_changes_are_found_and_too_few_runs_have_none() -> None:
    draw = np.random.default_rng(4).normal(0, 0.01, 30)
    assert change_points(np.repeat([0, 0.3, 0.1], 10) + draw, MARGIN) == [10, 20]
    assert change_points(np.array([0, 0, 0, 1, 1.0]), MARGIN) == []
    assert change_points(np.zeros(20), MARGIN) == []


def command(*words: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(main, [str(word) for word in words])


def test_the_command_shows_a_table_and_writes_a_page_and_csv(database: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "trend.html", tmp_path / "runs.csv"
    ended = command("history", database, "--run", "run-00", "-o", page, "--csv", table)
    assert ended.exit_code == 0, ended.stderr
    assert re.search(r"\+(49|50|51) %\n", ended.stdout)
    assert "left out: 1 run of other work" in ended.stdout
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 12
    assert rows[3]["ttft_p95_ms"] == "inf"
    assert (rows[0]["commit"], rows[0]["baselines"]) == ("c0", "main")
    assert float(rows[6]["change"]) == pytest.approx(1.5, abs=0.03)
    text = page.read_text()
    assert "Trend of chat".lower() in text.lower()
    assert "P95 TTFT by run" in text
    assert "http://" not in text.replace("http://www.w3.org", "").split("<script", 1)[0]


def test_csv_can_go_to_standard_output(database: Path) -> None:
    ended = command("history", database, "--run", "run-00", "--csv", "-")
    assert ended.stdout.startswith("run,started_at,branch,commit,")
    assert len(ended.stdout.splitlines()) == 13


def test_a_history_without_a_finished_run_is_a_mistake(tmp_path: Path) -> None:
    with new_store(tmp_path / "gauge.db") as store:
        add(store, 0, [], status="interrupted")
    ended = command("history", tmp_path / "gauge.db")
    assert ended.exit_code == 2
    assert "no run of this work has finished yet" in ended.stderr
