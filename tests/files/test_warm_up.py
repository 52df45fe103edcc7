"""Streams of a warm-up are stored and told, and are in no figure: readers read a run as if they were not there.

Each reader reads two runs with equal measured streams. In the warm-up of the first, everything went wrong; the second
had no streams in its warm-up.
"""

import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from streamgauge.harness.cli import main
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Reader, Regression, Sla, Where
from streamgauge.harness.judge.compare import history, recorded_runs, since_accepted, two_runs
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.run_figures import figures_of_runs
from streamgauge.harness.judge.outputs import badge, github, gitlab, junit, markdown, terminal
from streamgauge.harness.judge.outputs import json as document
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.abort import AbortRules
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.judge.verdict.rules import parse_all
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.harness.run.live import LiveProgress
from streamgauge.harness.testing.measured import Run
from streamgauge.reports.material import gather
from streamgauge.reports.panels import PANELS
from tests.support.command import REPOSITORY
from tests.support.record import MS, a_run, new_store, observation

SECOND = 1_000 * MS
MEASURED_FROM = 10 * SECOND
ENDED = 40 * SECOND
RULES = parse_all(
    [
        Sla(rule="p95(ttft) < 500ms"),
        Sla(rule="error_rate < 5%"),
        Sla(rule="output_tps > 1"),
        Sla(rule="p50(ttft) < 200ms", lasting=Duration.parse("5s")),
        Sla(rule="p95(itl) < 1s", where=Where(network="slow_4g", label={"phase": "first"})),
        Sla(rule="error_rate < 20%", abort=True, grace=Duration.parse("5s")),
    ]
)


def measured() -> list[StreamObservation]:
    """60 good streams, and two that failed."""
    due = [10_000 + 400 * place for place in range(60)]
    good = [
        observation(
            [("text", 150 + place), ("text", 180 + place), ("text", 220 + place)],
            due=at,
            output_tokens=3,
            request_id=f"kept-{place}",
            labels={"phase": "second"},
        )
        for place, at in enumerate(due)
    ]
    return [*good, *(observation([], outcome=Outcome.REFUSED, due=at, ended=5) for at in (15_000, 20_000))]


def cold() -> list[StreamObservation]:
    """Everything that must not count: slow, failed, odd, left, of another network, with and without usage."""
    slow = [
        observation(
            [("text", 4_000), ("text", 9_000)],
            due=100 * place,
            output_tokens=500,
            network="slow_4g",
            labels={"phase": "first"},
            request_id=f"cold-{place}",
            oddities={"cold": 1},
        )
        for place in range(60)
    ]
    broken = [
        observation([], outcome=outcome, due=9_999, ended=1, detail="cold", client="anthropic")
        for outcome in (Outcome.REFUSED, Outcome.RESET, Outcome.EMPTY, Outcome.CANCELLED, Outcome.INTERRUPTED)
        for _ in range(30)
    ]
    # Due in the warm-up, and ended long after it.
    return [*slow, *broken, observation([("text", 100), ("text", 25_000)], due=9_000, outcome=Outcome.TRUNCATED)]


def stored(path: Path, streams: Sequence[StreamObservation], measured_from: int | None = MEASURED_FROM) -> Path:
    with new_store(path) as store:
        run = a_run(measured_from=measured_from, rules=[rule.written for rule in RULES], fingerprint={"scenario": "a"})
        store.start_run(run)
        store.append(run.id, streams)
        instrument = {"streams": len(streams)}
        store.finish_run(run.id, ended_ns=ENDED, status="finished", instrument=instrument)
    return path


def judged(path: Path) -> Judgement:
    with Store.open(path) as store:
        return judge(store)


def without_the_warm_up(text: str) -> str:
    return re.sub(r"arm\\?-up\\?: [\d,]+ streams?, [\d,]+ failed", "warm-up", text)


def of_document(path: Path) -> Any:
    found = json.loads(without_the_warm_up(document.render(judged(path))))
    del found["warm_up"], found["run"]["instrument"]
    return found


def of_text(render: Callable[[Judgement], Any]) -> Callable[[Path], Any]:
    return lambda path: without_the_warm_up(str(render(judged(path))))


def of_abort_rules(path: Path) -> Any:
    with Store.open(path) as store:
        watch = AbortRules(RULES, Reader(), store.run().measured_from or 0)
        return [watch.check(store, "run-1", int(at * SECOND)) for at in (5, 12, 16, 30, 40)]


def of_history(path: Path) -> Any:
    with Store.open(path) as store:
        found = history.read(store)
    return [msgspec.structs.asdict(point.run)["id"] for point in found.points], [
        (point.streams, point.failed, point.p50, point.p95, point.interval) for point in found.points
    ], found.days  # fmt: skip


def of_gate(path: Path) -> Any:
    gate = Gate.of(Regression(metrics=("p95(ttft)", "p95(itl)", "error_rate", "output_tps", "concurrency")))
    with Store.open(path) as store:
        return figures_of_runs(store, ["run-1"], gate).figures


def of_recorded(path: Path) -> Any:
    gate = Gate.of(Regression(metrics=("p95(ttft)", "error_rate")))
    with Store.open(path) as store:
        found = recorded_runs.recorded(store, ["run-1"], gate)
        return found.runs, found.halves, found.seconds


def of_baseline(path: Path) -> Any:
    with Store.open(path) as store:
        gate = Gate.of(Regression(metrics=since_accepted.SUBJECTS))
        return since_accepted._measured(store, "run-1", gate, since_accepted._nothing)


def of_comparison(path: Path) -> Any:
    return two_runs.differences(judged(path), judged(path))


def of_view(path: Path) -> Any:
    with sqlite3.connect(path) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(stream_metrics)") if row[1] != "stream_id"]
        return connection.execute(f"SELECT {', '.join(columns)} FROM stream_metrics ORDER BY due_s").fetchall()


def of_fixture(path: Path) -> Any:
    run = Run(path, path, 0)
    figures = [
        run.p95("ttft"),
        run.rate("error_rate"),
        run.rate("output_tps"),
        run.p95("ttft", label={"phase": "second"}),
    ]
    return [float(figure) for figure in figures], run.verdict


def of_server_s_log(path: Path) -> Any:
    with Store.open(path) as store:
        return [(answer.request_id, answer.due_at) for answer in store.answers("run-1")]


def of_store(path: Path) -> Any:
    with Store.open(path) as store:
        return store.count("run-1"), store.failures("run-1", 10), [len(each) for each in store.streams("run-1")]


def of_live_line(path: Path) -> Any:
    with_cold = "cold" in path.name
    live = LiveProgress(MEASURED_FROM)
    live.add([*(cold() if with_cold else []), *measured()])
    return live.lines(30, 5)


def of_report(path: Path) -> Any:
    """Every panel but the one that draws the warm-up in grey, and of that one what is not grey."""
    with Store.open(path) as store:
        material = gather(store)
    panels = [draw(material) for draw in PANELS]
    shown = [repr(panel) for panel in panels if panel is not None and panel.name != "timeline"]
    line = material.timeline
    text = re.sub(r"\('streams', '\d+'\)", "", "\n".join(shown))  # the instrument says how many are stored
    return without_the_warm_up(text), line.ttft, line.itl, line.streams, line.failed, material.handed


READERS: dict[str, Callable[[Path], Any]] = {
    "the result document": of_document,
    "the terminal": of_text(lambda found: terminal.text(found, 200)),
    "Markdown": of_text(markdown.render),
    "JUnit": of_text(junit.render),
    "GitLab": of_text(gitlab.render),
    "GitHub": of_text(github.annotations),
    "the badge": of_text(badge.render),
    "rules with abort": of_abort_rules,
    "the history": of_history,
    "the regression gate": of_gate,
    "a proposal for a budget": of_recorded,
    "a report's baseline": of_baseline,
    "a comparison of two runs": of_comparison,
    "the view": of_view,
    "the pytest fixture": of_fixture,
    "the comparison with the server's log": of_server_s_log,
    "the store": of_store,
    "live figures": of_live_line,
    "the report": of_report,
    "the findings": of_text(lambda found: f"{len(found.evidence.sample)} {found.evidence.course.begun.tolist()}"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """With a warm-up in which everything went wrong, and with an empty one."""
    folder = tmp_path_factory.mktemp("warm-up")
    # The measured ones first, so that they have the same numbers in both.
    return stored(folder / "cold.db", [*measured(), *cold()]), stored(folder / "empty.db", measured())


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same two runs without a warm-up."""
    folder = tmp_path_factory.mktemp("without")
    return stored(folder / "cold.db", [*cold(), *measured()], None), stored(folder / "empty.db", measured(), None)


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_counts_a_stream_of_the_warm_up(runs: tuple[Path, Path], reader: str) -> None:
    read = READERS[reader]
    assert read(runs[0]) == read(runs[1])


@pytest.mark.parametrize("reader", READERS)
def test_each_reader_would_have_counted_them_without_a_warm_up(without: tuple[Path, Path], reader: str) -> None:
    if reader == "live figures":
        pytest.skip("it reads no database")
    read = READERS[reader]
    assert read(without[0]) != read(without[1])


def test_streams_are_read_in_no_other_place() -> None:
    """Whoever reads streams of a run belongs into READERS: this fails if there is one more."""
    reading = re.compile(r"store\.(?:streams|_undivided|warm_up|answers)\(|FROM streams|JOIN streams")
    found = {
        str(path.relative_to(REPOSITORY))
        for folder in ("harness", "reports")
        for path in (REPOSITORY / folder).rglob("*.py")
        if reading.search(path.read_text())
    }
    assert found == {
        "harness/calibration/comparison.py",  # of runs without a warm-up: it leaves out the time itself
        "harness/capacity/hunt.py",  # of runs without a warm-up: each level leaves out its own
        "harness/capacity/rows.py",
        "harness/judge/compare/history.py",
        "harness/judge/compare/recorded_runs.py",
        "harness/judge/compare/since_accepted.py",
        "harness/judge/store/__main__.py",  # the second process: what its parent would read
        "harness/judge/store/beside.py",
        "harness/judge/store/database.py",
        "harness/judge/store/exported.py",  # measured streams only: see test_export
        "harness/judge/store/merged.py",  # copies all rows
        "harness/judge/store/monitored.py",  # probes have no warm-up
        "harness/judge/store/rows.py",  # texts of the streams in the sample of the findings
        "harness/judge/store/schema.py",  # the view
        "harness/judge/store/spent.py",  # what probes cost
        "harness/judge/store/streams.py",
        "harness/judge/verdict/abort.py",
        "harness/judge/verdict/judgement.py",
        "harness/judge/verdict/warm_up.py",  # what it cost
        "harness/monitor/exposition/probes.py",
        "harness/monitor/retention.py",  # drops rows
        "harness/testing/measured.py",
        "reports/material.py",
    }


def test_the_warm_up_is_told_with_its_failures(runs: tuple[Path, Path]) -> None:
    found = judged(runs[0])
    sentence = "warm-up: 211 streams, 91 failed; they were due in the first 10 s, and are in no figure"
    assert sentence in found.reasons
    shown = terminal.text(found, 200)
    assert sentence in shown
    assert document.document(found)["warm_up"] == {
        "seconds": 10.0,
        "outcomes": {"completed": 60, "truncated": 1, "refused": 30, "reset": 30, "empty": 30, "cancelled": 30,
                     "interrupted": 30},
        "failed": 91,
    }  # fmt: skip


def test_a_throughput_is_over_the_time_after_the_warm_up(runs: tuple[Path, Path]) -> None:
    found = judged(runs[0])
    assert (found.took, found.seconds) == (40, 30)
    assert found.rates["output_tps"].value == 180 / 30


def test_its_streams_are_not_missed_among_the_stored_ones(runs: tuple[Path, Path]) -> None:
    assert judged(runs[0]).validity == "valid"


def test_its_streams_are_drawn_in_grey_and_listed(runs: tuple[Path, Path]) -> None:
    with Store.open(runs[0]) as store:
        material = gather(store)
    panel = next(panel for draw in PANELS if (panel := draw(material)) is not None and panel.name == "timeline")
    assert panel.notes[-1] == (
        "Grey is the warm-up, the first 10 s: 211 streams, 91 failed. They are in no other figure."
    )
    grey = [trace for trace in panel.charts[0].figure.data if trace.name == "P95 in the warm-up"]
    assert max(value for value in grey[0].y if value is not None) == pytest.approx(4_000, rel=0.01)
    assert panel.charts[0].figure.layout.shapes[0].x1 == 10
    assert any(table.caption.startswith("The warm-up") for table in panel.tables)
    assert panel.tables[0].rows[0][0] == "0:10", "no rows that say 0 for the streams of the warm-up"


def test_a_run_that_is_all_warm_up_is_inconclusive(tmp_path: Path) -> None:
    for place, streams in enumerate(([], cold())):
        found = judged(stored(tmp_path / f"{place}.db", streams, 3_600 * SECOND))
        assert found.verdict == "inconclusive"
        assert {verdict.status.value for verdict in found.verdicts} == {"inconclusive"}
        assert found.seconds == 0


def test_a_rule_with_for_has_windows_from_the_end_of_the_warm_up_on(tmp_path: Path) -> None:
    slow = [observation([("text", 900)], due=10_000 + 100 * place) for place in range(100)]
    path = stored(tmp_path / "slow.db", slow)
    with Store.open(path) as store:
        (verdict,) = judge(
            store, rules=parse_all([Sla(rule="p50(ttft) < 200ms", lasting=Duration.parse("10s"))])
        ).verdicts
    assert "from 10 s to 20 s" in verdict.reason


def test_the_grace_of_a_rule_with_abort_begins_after_the_warm_up(tmp_path: Path) -> None:
    refused = [observation([], outcome=Outcome.REFUSED, due=50 * place, ended=1) for place in range(600)]
    path = stored(tmp_path / "refused.db", refused)
    watch = AbortRules(RULES, Reader(), MEASURED_FROM)
    with Store.open(path) as store:
        assert watch.check(store, "run-1", 14 * SECOND) is None
        assert watch.check(store, "run-1", 16 * SECOND) is not None


def test_wasted_tokens_are_counted_after_the_warm_up_with_what_it_left_open(tmp_path: Path) -> None:
    """A stream of the warm-up goes on for 5 chunks after it. The person who left cost the server 10 tokens more."""
    open_still = observation([("text", 100 + 500 * place) for place in range(10)], due=7_600, output_tokens=10)
    left = observation([("text", 100), ("text", 200)], due=12_000, outcome=Outcome.CANCELLED)
    kept = observation([("text", 100 + place) for place in range(10)], due=12_000, output_tokens=10)
    generated = [(0.0, 0), (7.0, 1_000), (10.0, 1_005), (20.0, 1_005 + 5 + 12 + 10), (40.0, 1_032)]
    with new_store(tmp_path / "one.db") as store:
        run = a_run(measured_from=MEASURED_FROM)
        store.start_run(run)
        samples = [("target", int(at * 1e9), "server_generated", float(value)) for at, value in generated]
        store.append(run.id, [open_still, left, kept], samples)
        store.finish_run(run.id, ended_ns=ENDED, status="finished")
        assert judge(store, rules=[]).rates["wasted_tokens"].value == 10


def test_the_csv_of_the_history_has_no_stream_of_it(runs: tuple[Path, Path]) -> None:
    tables = [
        list(csv.DictReader(io.StringIO(CliRunner().invoke(main, ["history", str(path), "--csv", "-"]).stdout)))
        for path in runs
    ]
    assert tables[0] == tables[1]
    assert tables[0]


def test_a_negative_end_of_a_warm_up_is_a_damaged_row(tmp_path: Path) -> None:
    path = stored(tmp_path / "one.db", measured())
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE runs SET measured_from = -1")
    assert "a warm-up cannot end before the run begins" in CliRunner().invoke(main, ["judge", str(path)]).output


def test_slow_first_streams_are_remarked_upon_unless_there_is_a_warm_up(tmp_path: Path) -> None:
    streams = [
        observation([("text", (900 if place < 60 else 300) + place % 17)], due=100 * place, ended=1_000)
        for place in range(395)
    ]
    said = "the first 6.00 s were slower than the rest, beyond chance"
    without = judged(stored(tmp_path / "without.db", streams, None))
    assert any(reason.startswith(said) for reason in without.reasons), without.reasons
    assert without.validity == "valid"
    assert not any(said in reason for reason in judged(stored(tmp_path / "with.db", streams)).reasons)
