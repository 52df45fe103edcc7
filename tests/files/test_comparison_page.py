"""The page of a comparison: the sentence, the forest, both sides' distributions, the runs, and what else differs."""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from streamgauge.harness.config.schema import Regression, Sla
from streamgauge.harness.judge.compare import baseline, stored_runs, two_runs
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.compare.run_shapes import RunShapes, pooled
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports.comparison import changes, compared_page
from streamgauge.reports.comparison.changes import Compared
from streamgauge.reports.material import gather
from tests.support.accepted import KIND, fill
from tests.support.command import invoke
from tests.support.record import MS, a_run, database, judged, observation, ttfts
from tests.support.report_page import Page, empty

HOSTILE = '</script><script>alert(1)</script>"onload=x\u202e'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten runs of the branch main, then one series of three; all are equal."""
    fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers(name: str, ttft: float, failed: int = 0) -> list[StreamObservation]:
    draw = Random(name)
    refused = [empty(Outcome.REFUSED, http_status=503) for _ in range(failed)]
    return [*ttfts([ttft * draw.gauss(1, 0.01) * draw.uniform(0.8, 1.2) for _ in range(80)]), *refused]


def add(store: Store, run: Run, ttft: float, failed: int = 0) -> None:
    store.start_run(run)
    store.append(run.id, answers(run.id, ttft, failed))
    store.finish_run(run.id, ended_ns=10_000 * MS, status="finished")


def compared(folder: Path, ttft: float, metrics: tuple[str, ...] = ("p95(ttft)",), failed: int = 0) -> Compared:
    """Eight runs with this TTFT against the ten with 400 ms."""
    gate, shapes = Gate.of(Regression(metrics=metrics)), RunShapes()
    with Store.create(folder / "gauge.db") as store:
        baseline.accept(store, "main", [f"old-{place}" for place in range(10)])
        names = [f"build-{place}" for place in range(8)]
        for name in names:
            add(store, a_run(id=name, fingerprint=KIND, labels={"commit": HOSTILE}), ttft, failed)
        return changes.of_gate(stored_runs.with_baseline(store, "main", names, gate, shapes.take), gate, shapes)


def test_a_worse_build_is_told_in_one_sentence_with_its_figures(folder: Path) -> None:
    html = compared_page.render(compared(folder, 480))
    seen = Page(html)
    assert "<span>regressed</span>" in html
    assert re.search(
        r"Worse than main: p95\(ttft\) \d+ ms → \d+ ms: \+2\d % \(\+\d+ % to \+\d+ %\), margin 5", seen.text
    )
    assert seen.row("Changes", "regressed")[1] == "p95(ttft)"
    assert len(seen.tables["Each run"]) == 1 + 10 + 8
    assert ["label.commit", f"was absent and is {HOSTILE!r}"] in seen.tables["Besides"]


def test_the_mark_and_its_interval_lie_where_the_change_is(folder: Path) -> None:
    found = compared(folder, 480)
    html = compared_page.render(found)
    (row,) = found.rows
    margin = re.search(r'class="margin" x="([\d.]+)" y="0" width="([\d.]+)"', html)
    zero, dot, span = (
        re.search(rf'class="{name}" d="M([\d.]+)[^H"]*(?:H([\d.]+))?', html) for name in ("zero", "dot", "span")
    )
    assert margin is not None
    assert zero is not None
    assert dot is not None
    assert span is not None
    left, width = float(margin[1]), float(margin[2])
    scale = width / (2 * math.log(1.05))  # units of the drawing for one unit of the logarithm
    assert left + width / 2 == pytest.approx(float(zero[1]), abs=0.2)
    assert float(dot[1]) == pytest.approx(float(zero[1]) + scale * math.log(row.change or 0), abs=0.5)
    assert float(span[1]) == pytest.approx(float(zero[1]) + scale * math.log(row.interval.low or 0), abs=0.5)
    assert float(span[2]) == pytest.approx(float(zero[1]) + scale * math.log(row.interval.high or 0), abs=0.5)


def test_an_equal_build_a_better_one_and_too_few_runs_have_their_sentences(folder: Path) -> None:
    better = compared(folder, 300)
    assert "<span>improved</span>" in compared_page.render(better)
    assert "Better than main: p95(ttft)" in compared_page.render(better)
    baseline_of = invoke("compare", "gauge.db", "--baseline", "main", "--run", "new-0", "--run", "new-1", "--run",
                         "new-2", "-o", "page.html")  # fmt: skip
    assert baseline_of.exit_code == 0, baseline_of.stderr
    html = (folder / "page.html").read_text()
    assert "<span>ok</span>" in html
    assert "Not worse than main. The largest change: p95(ttft)" in Page(html).text
    invoke("baseline", "remove", "gauge.db", "--name", "main", "--run", "old-3")
    few = invoke("compare", "gauge.db", "--baseline", "main", "--run", "new-0", "-o", "few.html")
    assert few.exit_code == 3
    assert "9 comparable runs of the 10" in Page((folder / "few.html").read_text()).text


def test_failed_streams_bend_the_lines_and_the_failure_rate_has_an_axis_of_its_own(folder: Path) -> None:
    found = compared(folder, 400, ("p50(ttft)", "error_rate"), failed=20)
    seen = Page(compared_page.render(found))
    after = next(trace for trace in seen.figures[0]["data"] if trace["name"] == "candidate")
    before = next(trace for trace in seen.figures[0]["data"] if trace["name"] == "main")
    assert max(after["y"]) == pytest.approx(80, abs=0.6)
    assert max(before["y"]) > 99
    ladder = "Percentiles of all streams of both sides, failed ones as infinitely late"
    assert seen.row(ladder, "P95")[2] == "never"
    assert found.rows[1].change == pytest.approx(0.2)
    assert '<p class="by"><b>+20 points</b>' in compared_page.render(found)


def test_pooled_shapes_have_the_percentiles_of_all_samples(tmp_path: Path) -> None:
    shapes = RunShapes()
    for name, times in (("one", range(100, 300)), ("two", range(300, 700))):
        with Store.open(database(tmp_path / f"{name}.db", ttfts(times), id=name)) as store:
            shapes.take(judge(store, rules=[]))
    every = pooled(shape.shapes["ttft"] for shape in shapes.runs.values())
    exact = np.quantile([*range(100, 700)], [0.1, 0.5, 0.99], method="inverted_cdf")
    assert every.quantiles(np.array([0.1, 0.5, 0.99])) == pytest.approx(exact, rel=0.004)


def test_two_single_runs_give_no_verdict_and_say_what_was_not_the_same_work(tmp_path: Path) -> None:
    for name, ttft in (("before", 400), ("after", 500)):
        database(
            tmp_path / f"{name}.db", answers(name, ttft), fingerprint={**KIND, "load": {"users": ttft}}, host=HOSTILE
        )
    ended = invoke("compare", str(tmp_path / "before.db"), str(tmp_path / "after.db"), "-o", str(tmp_path / "two.html"))
    assert ended.exit_code == 0, ended.stderr
    html = (tmp_path / "two.html").read_text()
    seen = Page(html)
    assert "<span>no verdict</span>" in html
    assert "Not the same work (load.users was 400 and is 500)" in seen.text
    assert seen.tables["In the fingerprint"][1] == ["load.users", "was 400 and is 500"]
    ttft_row = seen.row("Changes", "p95(ttft)")
    assert ttft_row[3].startswith("+2")  # both databases call their run run-1


def test_runs_that_came_from_a_file_are_in_the_changes_and_told_as_missing_in_the_lines(folder: Path) -> None:
    invoke("baseline", "accept", "gauge.db", "--name", "main", "--branch", "main")
    invoke("baseline", "export", "gauge.db", "--name", "main", "-o", "main.json")
    ended = invoke("compare", "gauge.db", "--baseline", "main.json", "-o", "page.html")
    assert ended.exit_code == 0, ended.stderr
    seen = Page((folder / "page.html").read_text())
    assert "10 runs came from a file with figures and without streams" in seen.text
    assert seen.row("Changes", "ok")[2] != "–"


def test_an_invalid_run_is_told_and_nothing_is_drawn(folder: Path) -> None:
    gate, shapes = Gate.of(Regression()), RunShapes()
    with Store.create(folder / "gauge.db") as store:
        baseline.accept(store, "main", [f"old-{place}" for place in range(10)])
        store.start_run(a_run(id="bad", fingerprint=KIND))
        store.append("bad", answers("bad", 400))
        store.finish_run("bad", ended_ns=10_000 * MS, status="interrupted")
        found = stored_runs.with_baseline(store, "main", ["bad"], gate, shapes.take)
    html = compared_page.render(changes.of_gate(found, gate, shapes))
    assert "<span>invalid</span>" in html
    assert "Bad is invalid: the run is interrupted, not finished." in Page(html).text
    assert 'class="forest"' not in html


def test_a_gated_series_has_both_verdicts_on_one_page(folder: Path) -> None:
    gate, shapes = Gate.of(Regression(metrics=("p95(ttft)",))), RunShapes()
    with Store.create(folder / "gauge.db") as store:
        baseline.accept(store, "main", [f"old-{place}" for place in range(10)])
        add(store, a_run(id="slow", fingerprint=KIND, rules=[Sla(rule="p50(ttft) < 5s")]), 400)
        found = stored_runs.with_baseline(store, "main", ["slow"], gate, shapes.take)
        both = Gated(judge(store, "slow"), replace(found, reason="suspicious"))
        html = compared_page.render_gated(both, gather(store, "slow"), changes.of_gate(both.compared, gate, shapes))
    seen = Page(html)
    assert f"<span>{both.status}</span>" in html
    assert seen.tables["Rules"][1][0] == "met"
    assert 'class="forest"' in html
    anchors = [given["id"] for tag, given in seen.tags if tag == "section"]
    assert len(anchors) == len(set(anchors))


def test_text_of_runs_and_baselines_stays_text(folder: Path) -> None:
    found = compared(folder, 480)
    html = compared_page.render(replace(found, before=found.before._replace(name=HOSTILE)))
    seen = Page(html)
    assert "alert(1)</script>" not in html
    assert "\u202e" not in html
    assert "<script" not in json.dumps(seen.figures)
    assert not [tag for tag, given in seen.tags if any(name.startswith("on") for name in given)]
    assert all((given.get("href") or "#").startswith("#") for _, given in seen.tags)


@pytest.mark.usefixtures("folder")
def test_a_page_that_cannot_be_written_is_told_before_anything_is_compared() -> None:
    ended = invoke("compare", "gauge.db", "--baseline", "main", "-o", "nowhere/page.html")
    assert (ended.exit_code, "there is no folder nowhere" in ended.stderr) == (2, True)


def test_a_metric_that_is_a_share_changes_by_a_difference(tmp_path: Path) -> None:
    def stalls(waits: Iterable[float]) -> list[StreamObservation]:
        """Each has read one chunk after 20 ms, and then waits."""
        return [observation([("text", 100), ("text", 100 + wait), ("text", 110 + wait)]) for wait in waits]

    one = judged(tmp_path / "one.db", stalls(range(1_000, 1_100)))
    two = judged(tmp_path / "two.db", stalls(range(2_000, 2_100)))
    (same,) = (each for each in two_runs.differences(one, one) if each.subject == "p50(stall_ratio)")
    assert same.change == 0
    low, high = same.interval
    assert low is not None
    assert high is not None
    assert low < 0 < high
    (more,) = (each for each in two_runs.differences(one, two) if each.subject == "p50(stall_ratio)")
    assert 0 < more.change == more.after - more.before < 1


def test_shares_of_0_are_compared(tmp_path: Path) -> None:
    one = judged(tmp_path / "one.db", ttfts(range(100, 200)))
    found = {each.subject: each for each in two_runs.differences(one, one)}
    assert (found["p95(stall_ratio)"].before, found["p95(stall_ratio)"].change) == (0, 0)


def test_a_metric_that_only_one_of_two_runs_has_is_named(folder: Path) -> None:
    """As itl, of a server that no longer streams: it has no difference, and all that is left looks quicker."""
    whole = [observation([("text", 200)]) for _ in range(80)]
    with Store.create(folder / "gauge.db") as store:
        for name, streams in (("streams", ttfts([200.0] * 80)), ("whole", whole)):
            store.start_run(a_run(id=name, fingerprint=KIND))
            store.append(name, streams)
            store.finish_run(name, ended_ns=10_000 * MS, status="finished")
    there = " ".join(
        invoke("compare", "gauge.db", "--run", "streams", "--run", "whole", "-o", "page.html").output.split()
    )
    back = " ".join(invoke("compare", "gauge.db", "--run", "whole", "--run", "streams").output.split())
    assert "only before, and in no stream now: itl," in there
    assert "only now, and in no stream before: itl," in back
    assert "nly before, and in no stream now: itl," in (folder / "page.html").read_text()
