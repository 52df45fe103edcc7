"""Parts of a run that a page's reader can choose: which there are, and that their figures are their streams'."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamgauge.harness.judge.store import Store
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports import facets
from streamgauge.reports.facets import Facet
from streamgauge.reports.material import Material, gather
from tests.support.record import MS, database, observation, ttfts
from tests.support.report_page import Page, rendered


def material(path: Path, streams: list[StreamObservation]) -> Material:
    with Store.open(database(path, streams)) as store:
        return gather(store)


def found(path: Path, streams: list[StreamObservation]) -> dict[tuple[str, str], Facet]:
    return {(each.kind, each.value): each for each in material(path, streams).facets}


def test_a_part_has_the_figures_of_its_streams_alone(tmp_path: Path) -> None:
    streams = [
        *ttfts(range(100, 200), user="Reader", labels={"tier": "gold", "phase": "calm"}),
        *ttfts(range(900, 950), user="Commuter", labels={"tier": "free", "phase": "peak"}),
        *ttfts([5_000], user="Commuter", due=9_000, labels={"tier": "gold", "phase": "peak"}),
    ]
    parts = found(tmp_path / "run.db", streams)
    assert set(parts) == {
        ("User class", "Reader"), ("User class", "Commuter"), ("Phase", "calm"), ("Phase", "peak"),
        ("Label tier", "gold"), ("Label tier", "free"),
    }  # fmt: skip
    assert parts["User class", "Reader"].metrics["ttft"].max == 199
    assert parts["Label tier", "gold"].totals.streams == 101
    assert parts["Label tier", "free"].metrics["ttft"].quantiles.p50 == 924


def test_the_courses_and_the_slowest_streams_are_those_of_the_figures(tmp_path: Path) -> None:
    """The beginning of a resumed answer is in another stream, and an answer in one piece has no first token."""
    rest: dict[str, Any] = {"resumed_from": "a:3", "resume_gap": 700 * MS, "resume_lost": 0, "resume_duplicated": 0}
    whole: dict[str, Any] = {"answer": "whole", "chunks": [("text", 3_000)]}
    kinds: list[dict[str, Any]] = [*[{}] * 10, *[rest] * 20, *[whole] * 40]
    streams = [observation(user=f"User {at % 2}", due=at, **more) for at, more in enumerate(kinds)]
    run = material(tmp_path / "run.db", [*streams, observation([], outcome=Outcome.CANCELLED, ended=5_000, **rest)])
    figures = run.judgement.metrics
    assert (figures["ttft"].n, sum(run.timeline.ttft.n), sum(sum(each.ttft.n) for each in run.facets)) == (10, 10, 10)
    assert (figures["e2e"].n, sum(run.timeline.e2e.n)) == (10, 10)
    chosen = {group.name: {stream.due_at // MS for stream in group.streams} for group in run.streams}
    assert all(min(due) < 10 for name, due in chosen.items() if "TTFT" in name)
    assert chosen["The slowest first tokens"] == set(range(10))
    assert "The longest waits for a first token that never came" not in chosen


def test_the_course_of_the_only_part_would_be_that_of_the_run(tmp_path: Path) -> None:
    streams = [observation([("text", 100 + at % 37)], due=at * 30, user=f"User {at % 2}") for at in range(300)]
    run = material(tmp_path / "run.db", streams)
    whole = run.timeline.ttft
    both = [each.ttft for each in run.facets]
    assert [sum(n) for n in zip(*(each.n for each in both), strict=True)] == whole.n
    exact = np.quantile(
        [100 + at % 37 for at in range(0, 300, 2) if at * 30 < run.timeline.width * 1e3], 0.95, method="inverted_cdf"
    )
    assert both[0].p95[0] == exact
    assert [value is None for value in both[0].p50] == [n == 0 for n in both[0].n]


def test_a_key_with_one_value_and_a_label_with_many_are_no_choice(tmp_path: Path) -> None:
    streams = [one for at in range(60) for one in ttfts([100 + at], labels={"request": f"r{at}"})]
    assert found(tmp_path / "run.db", streams) == {}
    html, _ = rendered(tmp_path / "page.db", streams)
    assert 'id="part"' not in html


def test_there_are_at_most_so_many_parts_the_largest_ones(tmp_path: Path) -> None:
    streams = [one for at in range(60) for one in ttfts([100] * (2 if at < 45 else 3), user=f"User{at:02d}")]
    parts = found(tmp_path / "run.db", streams)
    assert len(parts) == facets.MOST
    assert {("User class", f"User{at}") for at in range(45, 60)} <= set(parts)


@pytest.mark.parametrize("name", ["facts", "picture", "percentiles"])
def test_the_page_has_each_place_once_and_again_for_each_part(tmp_path: Path, name: str) -> None:
    html, _ = rendered(tmp_path / "run.db", [*ttfts(range(99), user="A"), *ttfts(range(50, 90), user="B")])
    assert html.count(f'data-switched="{name}"') == 1 + 2
    assert "Only user class A: 99 of 139 streams." in html
    assert Page(html).row("Percentiles of User class B", "TTFT")[5] == "40"
