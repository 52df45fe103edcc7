"""Rules and gate together: what CI reads first is the worse of the two, once, in every output."""

from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import msgspec
import pytest

from streamgauge.harness.commands import several_runs
from streamgauge.harness.compare.series import Series, Work
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus, Row
from streamgauge.harness.judge.compare.gated import Gated, worst
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.outputs import badge, github, gitlab, json, junit, markdown, terminal
from streamgauge.harness.judge.outputs.dispatch import FORMATS
from streamgauge.harness.judge.outputs.kinds import FILES, Output
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.validity import Validity
from tests.support.record import MS, a_run, judged, new_store, ttfts
from tests.support.verdicts import case

SCHEMA = Path(__file__).parents[2] / "docs/reference/result.schema.json"
MET, MISSED = "max(ttft) < 1s", "max(ttft) < 50ms"


def gate(status: GateStatus) -> Comparison:
    rows = [Row("p95(ttft)", "ms", status, 400, 480, 1.2, Interval(1.1, 1.3), "worse in 3 runs")]
    return Comparison("main", status, "p95(ttft) +20 %", [] if status is GateStatus.INVALID else rows, ["a"], ["b"], [])


def rules(path: Path, *texts: str, invalid: bool = False) -> Judgement:
    fields = {"instrument": {"clock_drift_ns": 80 * MS}} if invalid else {}
    result = judged(path / "run.db", ttfts(range(100, 400), output_tokens=3), *texts, **fields)
    assert (result.validity is Validity.INVALID) is invalid
    return result


def first_words(result: Gated) -> dict[str, str]:
    """By output, the verdict that a reader meets first."""
    return {
        "markdown": markdown.gated(result).split(":")[0].split()[-1].lower(),
        "summary": github.summary(result, 10_000).split(":")[0].split()[-1].lower(),
        "terminal": terminal.gated_text(result).split(":")[0].split()[-1].lower(),
        "badge": ElementTree.fromstring(badge.gated(result)).attrib["aria-label"].split()[2],
        "json": msgspec.json.decode(json.gated(result))["verdict"],
    }


@pytest.mark.parametrize(
    ("of_rules", "of_gate", "expected", "in_junit"),
    [
        ([MET], GateStatus.OK, "met", set()),
        ([MET], GateStatus.IMPROVED, "met", set()),
        ([MET], GateStatus.REGRESSED, "regressed", {"failure"}),
        ([MET], GateStatus.INCONCLUSIVE, "inconclusive", {"skipped"}),
        ([MET], GateStatus.INVALID, "invalid", {"error"}),
        ([MISSED], GateStatus.OK, "missed", {"failure"}),
        ([MISSED], GateStatus.REGRESSED, "missed", {"failure"}),
        ([], GateStatus.OK, "ok", set()),
        ([], GateStatus.REGRESSED, "regressed", {"failure"}),
    ],
)
def test_every_output_begins_with_the_worse_of_rules_and_gate(
    tmp_path: Path, of_rules: list[str], of_gate: GateStatus, expected: str, in_junit: set[str]
) -> None:
    result = Gated(rules(tmp_path, *of_rules), gate(of_gate))
    assert set(first_words(result).values()) == {expected}, first_words(result)
    suites = list(ElementTree.fromstring(junit.gated(result)))
    assert {case(suite)[0].tag for suite in suites if len(case(suite))} == in_junit
    assert len(suites) == len(of_rules) + 1
    assert any(line.startswith("::error") for line in github.annotations(result)) is bool(in_junit - {"skipped"})
    jsonschema.validate(msgspec.json.decode(json.gated(result)), msgspec.json.decode(SCHEMA.read_bytes()))
    assert gitlab.gated(result).count("# EOF") == 1


def test_an_invalid_run_outweighs_a_gate_that_saw_nothing(tmp_path: Path) -> None:
    result = Gated(rules(tmp_path, MET, invalid=True), gate(GateStatus.OK))
    assert set(first_words(result).values()) == {"invalid"}
    assert github.annotations(result)[0].startswith("::error")


def test_the_run_that_ended_worst_decides_and_of_equal_ones_the_newest(tmp_path: Path) -> None:
    good, bad = rules(tmp_path / "good", MET), rules(tmp_path / "bad", MISSED)
    assert worst([good, bad, good]) is bad
    newest = rules(tmp_path / "newest", MET)
    assert worst([good, newest]) is newest


def test_each_kind_of_file_has_a_form_for_both(tmp_path: Path) -> None:
    result = Gated(rules(tmp_path, MET), gate(GateStatus.REGRESSED))
    assert all(FORMATS[kind].of_both(result) for kind in FILES)


def test_the_outputs_of_several_runs_are_those_of_the_worst_and_not_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gauge.db"
    series = Series(Work("chat", {"db": str(path), "inconclusive": None}, {}))
    with new_store(path) as store:
        for name, limit in (("first", "50ms"), ("last", "1s")):
            store.start_run(a_run(id=name, labels={"series": series.id}, rules=[Sla(rule=f"max(ttft) < {limit}")]))
            store.append(name, ttfts(range(100, 400), output_tokens=3))
            store.finish_run(name, ended_ns=10_000 * MS, status="finished")
    decisive = several_runs.decisive_run(series)
    assert decisive is not None
    assert decisive.run.id == "first"
    monkeypatch.chdir(tmp_path)
    to = several_runs.Reporting([Output("junit", "junit.xml")], "page.html", None)
    several_runs.tell(decisive, to, several_runs._page_of(series, decisive))
    assert 'failures="1"' in (tmp_path / "junit.xml").read_text()
    assert "SLA missed: " in (tmp_path / "page.html").read_text()
    assert capsys.readouterr().out == ""
