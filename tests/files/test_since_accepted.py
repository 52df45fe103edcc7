"""A report's change against the accepted runs of the same work, and the baseline's stream in its replay."""

import re
from pathlib import Path

import pytest

from streamgauge.harness.judge.compare import baseline, since_accepted
from streamgauge.harness.judge.compare.since_accepted import Since
from streamgauge.harness.judge.store import Accepted, Store
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.record.observation import Outcome
from streamgauge.reports import page
from streamgauge.reports.material import gather
from tests.support.record import MS, a_run, new_store, ttfts
from tests.support.report_page import Page, empty

KIND = {"scenario": "chat"}


def add(store: Store, day: int, ttft: float, failed: int = 0, **fields: object) -> str:
    """A finished run of 100 streams, of this day."""
    name = f"run-{day:02}"
    store.start_run(
        a_run(**{"id": name, "fingerprint": KIND, "started_at": f"2026-11-{day:02}T09:00:00+00:00", **fields})
    )
    streams = ttfts([ttft + day + at for at in range(100 - failed)])
    store.append(name, [*streams, *(empty(Outcome.RESET) for _ in range(failed))])
    store.finish_run(name, ended_ns=10_000 * MS, status="finished")
    return name


def since(store: Store, run: str) -> Since | None:
    return since_accepted.since_accepted(store, judge(store, run), since_accepted._nothing)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Five accepted runs, whose P95 TTFT is about 400 ms."""
    store = new_store(tmp_path / "gauge.db")
    baseline.accept(store, "main", [add(store, day, 300) for day in range(1, 6)])
    return store


def test_each_figure_has_its_change_and_how_sure_it_is(store: Store) -> None:
    found = since(store, add(store, 6, 500, failed=3))
    assert found is not None
    assert (found.name, found.runs) == ("main", [f"run-0{day}" for day in range(1, 6)])
    ttft = found.changes["p95(ttft)"]
    assert ttft.by == pytest.approx(1.5, abs=0.02)
    assert ttft.interval.low is not None
    assert ttft.interval.low < ttft.by
    assert found.changes["error_rate"].by == pytest.approx(0.03)
    assert found.changes["error_rate"].interval == (None, None), "five runs without a failure tell no scatter"


def test_the_page_tells_it_beside_each_fact_and_replays_the_baselines_typical_stream(store: Store) -> None:
    name = add(store, 6, 500)
    html = page.render(gather(store, name))
    told = re.findall(r'<span class="since">(.*?)</span>', html)
    assert len(told) == 4
    assert re.fullmatch(r"\+\d\d % \(\+\d+ % to \+\d+ %\) against main", told[0])
    seen = Page(html)
    assert seen.row("The run", "Baseline")[1] == "main, 5 runs up to run-05"
    assert "Before: the P50 of the baseline main" in seen.text
    replayed = [given.get("data-stream") for _, given in seen.tags if given.get("class") == "screen"]
    assert len([stream for stream in replayed if stream]) == 3
    assert set(filter(None, replayed)) <= set(seen.times[0])


def test_a_run_is_not_compared_with_itself_later_runs_or_other_work(store: Store) -> None:
    assert since(store, "run-01") is None
    found = since(store, "run-03")
    assert found is not None
    assert found.runs == ["run-01", "run-02"]
    assert since(store, add(store, 7, 300, fingerprint={"scenario": "other"})) is None


def test_one_accepted_run_gives_a_change_without_an_interval(store: Store) -> None:
    found = since(store, "run-02")
    assert found is not None
    assert found.changes["p95(ttft)"].by == pytest.approx(1, abs=0.01)
    assert found.changes["p95(ttft)"].interval == (None, None)


def test_the_baseline_that_last_accepted_such_a_run_is_taken(store: Store) -> None:
    later = "2030-01-01T00:00:00+00:00"
    store.accept("release", [Accepted("run-02", later, None)])
    found = since(store, add(store, 6, 300))
    assert found is not None
    assert (found.name, found.runs) == ("release", ["run-02"])


def test_only_the_newest_runs_are_measured_if_all_are_too_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(since_accepted, "MOST_STREAMS", 250)
    name = add(store, 6, 300)
    found = since(store, name)
    assert found is not None
    assert found.runs == ["run-04", "run-05"]
    monkeypatch.setattr(since_accepted, "MOST_STREAMS", 99)
    assert since(store, name) is None
    assert 'class="since"' not in page.render(gather(store, name))
