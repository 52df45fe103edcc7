"""The history of runs: levels, days, accepted baselines, and the page and the table that show them."""

import csv
import json
import math
import re
import shutil
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner, Result

from streamgauge.harness.cli import main
from streamgauge.harness.judge.compare import baseline, history
from streamgauge.harness.judge.compare.change_points import change_points
from streamgauge.harness.judge.store import Store
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports import trend
from tests.support.record import MS, a_run, new_store, observation, ttfts
from tests.support.report_page import Page

HOSTILE = '</script><script>alert(1)</script>"onload=x\u202e'

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
    assert [day.never for day in days] == [20, 0, 0]
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


def test_a_day_counts_the_streams_of_the_ttft_and_no_others(tmp_path: Path) -> None:
    """The one day of one run has the percentiles of the run."""
    streams = [
        *ttfts([100] * 10),
        *ttfts([1] * 10, resumed_from="a:3", resume_gap=700 * MS, resume_lost=0, resume_duplicated=0),
        *ttfts([9_000] * 10, answer="whole"),
        *(observation([], outcome=Outcome.CANCELLED, ended=5_000) for _ in range(11)),
        *(observation([], outcome=Outcome.INTERRUPTED, ended=5_000) for _ in range(10)),
        observation([], outcome=Outcome.REFUSED, answer="whole"),
    ]
    with new_store(tmp_path / "one.db") as store:
        add(store, 0, streams)
        found = history.read(store)
    (point,), (day,) = found.points, found.days
    assert (sum(day.counts), day.never) == (10, 11)
    assert (point.failed, point.p50, point.p95) == (11, math.inf, math.inf)
    assert (day.p50, day.p95) == (math.inf, math.inf)


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
    assert "TTFT by run" in text
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


def test_the_median_has_change_points_and_levels_too(database: Path) -> None:
    points = read(database).points
    assert [point.run.id for point in points if point.change_p50 is not None] == ["run-06"]
    # In the fourth run, 20 of 100 streams failed: its median is a later one of the others.
    assert points[6].change_p50 == pytest.approx(1.5, abs=0.1)
    assert points[5].level_p50 == pytest.approx(300, rel=0.06)
    assert points[6].level_p50 == points[11].level_p50 == pytest.approx(450, rel=0.03)
    assert points[3].level is None, "its p95 is infinite"


def test_a_day_has_the_percentiles_of_all_its_streams(database: Path) -> None:
    found = read(database)
    with Store.open(database) as store:
        on_last_day = [f"run-{place:02}" for place in range(8, 12)]
        ttft = np.concatenate(
            [
                (streams.number["first_content_at"] - streams.number["due_at"]) / 1e6
                for run in on_last_day
                for streams in store.streams(run)
            ]
        )
    last = found.days[-1]
    assert last.p50 == pytest.approx(np.quantile(ttft, 0.5, method="inverted_cdf"), rel=0.006)
    assert last.p95 == pytest.approx(np.quantile(ttft, 0.95, method="inverted_cdf"), rel=0.006)
    assert found.days[0].p95 == math.inf, "20 of 340 streams failed"


def shown(path: Path, **kwargs: Any) -> Page:
    return Page(trend.render(read(path), **kwargs))


def test_every_cell_of_the_density_lies_around_its_streams_and_a_days_cells_are_all_of_them(database: Path) -> None:
    density = next(
        trace
        for figure in shown(database).figures
        for trace in figure["data"]
        if trace["type"] == "bar" and "base" in trace
    )
    cells = list(zip(density["x"], density["base"], density["y"], density["text"], strict=True))
    assert all(base < base + height < base * 1.1 for _, base, height, _ in cells)
    last = [(base, base + height, share) for day, base, height, share in cells if day == "2026-11-25"]
    streams = [stream for place in range(8, 12) for stream in answers(place, 450)]
    times = [((stream.first_content_at or 0) - stream.due_at) / 1e6 for stream in streams]
    for low, high, text in last:
        inside = sum(low < time <= high for time in times)
        assert inside / len(times) == pytest.approx(float(text.split(": ")[1].split(" ")[0]) / 100, abs=0.006)
    assert sum(low < time <= high for low, high, _ in last for time in times) == len(times)


def test_releases_and_levels_are_drawn_and_each_release_once(tmp_path: Path) -> None:
    with new_store(tmp_path / "gauge.db") as store:
        for place, labels in enumerate([{}, {"release": "1.0"}, {"release": "1.0"}, {"version": HOSTILE}]):
            add(store, place, answers(place, 300), labels=labels)
    seen = shown(tmp_path / "gauge.db")
    names = [(each["x"], each["text"]) for each in seen.figures[0]["layout"]["annotations"]]
    assert names[0] == (1.5, "1.0")
    assert len(names) == 2
    assert names[1][0] == 3.5
    assert "<script" not in json.dumps(seen.figures)
    assert "\u202e" not in json.dumps(seen.figures, ensure_ascii=False)


def test_each_run_is_linked_to_its_report_wherever_that_is(database: Path, tmp_path: Path) -> None:
    reports, site = tmp_path / "pages & <b>", tmp_path / "site"
    reports.mkdir()
    site.mkdir()
    assert command("report", database, "--run", "run-02", "-o", reports / "javascript:x.html").exit_code == 0
    (reports / "run-05.html").write_text("a page of an older version")
    ended = command("history", database, "--run", "run-00", "-o", site / "trend.html", "--reports", reports)
    assert ended.exit_code == 0, ended.stderr
    assert f"10 runs without a report in {reports}; write one with: streamgauge report {database} --run" in ended.stderr
    seen = Page((site / "trend.html").read_text())
    links = [given["href"] for tag, given in seen.tags if tag == "a" and not (given["href"] or "").startswith("#")]
    assert links == ["../pages%20%26%20%3Cb%3E/javascript%3Ax.html", "../pages%20%26%20%3Cb%3E/run-05.html"]
    assert (site / unquote(links[0] or "")).resolve() == (reports / "javascript:x.html").resolve()


def test_a_folder_of_reports_that_is_missing_or_without_a_page_is_a_mistake(database: Path, tmp_path: Path) -> None:
    missing = command("history", database, "-o", tmp_path / "trend.html", "--reports", tmp_path / "none")
    assert (missing.exit_code, "there is no such folder" in missing.stderr) == (2, True)
    without = command("history", database, "--reports", tmp_path)
    assert (without.exit_code, "name its file with -o" in without.stderr) == (2, True)


def test_many_days_are_joined_to_weeks_and_years_to_months() -> None:
    def days(count: int) -> list[history.Day]:
        first = date(2026, 1, 5)
        fine = (1, *(0,) * (len(history.FINE_MS)))
        return [
            history.Day((first + timedelta(at)).isoformat(), (1,) + (0,) * 10, 1, fine, 5.0, 6.0) for at in range(count)
        ]

    assert len(trend._joined(days(120))) == 120
    weeks = trend._joined(days(140))
    assert [weeks[0][0], len(weeks)] == ["week of 2026-01-05", 20]
    assert (int(weeks[0][1].sum()), weeks[0][2]) == (7, 7)
    assert trend._joined(days(1_000))[0][0] == "2026-01"
