"""JUnit XML, for the test pages of CI systems: one case for each rule (of a comparison: for each metric), under a name
that is the same from run to run. A run that is not met, though none of its rules says so, has one case more.

A missed rule is a failure. An inconclusive rule is skipped with its reason, and so is a missed rule that only warns. If
the run is invalid, every rule is an error. Each rule has a suite of its own, because the figures are properties and
only suites may have properties. The XML is valid by the schema of Ant's reports (Windy Road's JUnit.xsd), the strictest
of those in use, and by Jenkins's junit-10.xsd.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from xml.etree import ElementTree

from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus, Row
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.figures import estimate, figure
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.outputs import cells
from streamgauge.harness.judge.verdict.judgement import Judgement, RunVerdict
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict
from streamgauge.harness.judge.wording import visible, words


class Case(NamedTuple):
    name: str
    result: str | None  # failure, error or skipped; None: passed
    message: str
    properties: Mapping[str, str]
    text: str  # the details
    remarks: Sequence[str] = ()  # of the whole run, for system-out only


def render(judgement: Judgement) -> str:
    run = judgement.run
    return document(run.scenario, _cases_of_run(judgement), run.started_at, judgement.took)


def comparison(compared: Comparison) -> str:
    cases = _cases_of_comparison(compared)
    return document(f"against {compared.baseline}", cases, datetime.now(UTC).isoformat(), 0)


def gated(result: Gated) -> str:
    """The rules' cases and the gate's."""
    run = result.judgement.run
    of_rules = _cases_of_run(result.judgement) if result.has_rules else []
    cases = [*of_rules, *_cases_of_comparison(result.compared)]
    return document(run.scenario, cases, run.started_at, result.judgement.took)


# The cases

_OF_RUN = {RunVerdict.MISSED: "failure", RunVerdict.INCONCLUSIVE: "skipped", RunVerdict.INVALID: "error"}


def _cases_of_run(judgement: Judgement) -> list[Case]:
    run = judgement.run
    shared = {"run": run.id, "host": run.host, "verdict": judgement.verdict, "validity": judgement.validity.value}
    cases = [_of_rule(judgement, verdict, shared) for verdict in judgement.verdicts]
    result = _OF_RUN.get(judgement.verdict)
    is_told = judgement.is_told_by_rules or (judgement.verdict is RunVerdict.INVALID and cases)
    if result is not None and not is_told:
        name = "the run" if cases else "SLA rules"
        text = "; ".join([judgement.reason, *judgement.reasons, *cells.failures(judgement)])
        cases.append(Case(name, result, judgement.reason, shared, text, _findings(judgement)))
    return cases


def _cases_of_comparison(compared: Comparison) -> list[Case]:
    shared = {"against": compared.baseline, "verdict": compared.status.value}
    cases = [_of_compared(row, shared) for row in compared.rows]
    if not cases:
        result = "error" if compared.status is GateStatus.INVALID else "skipped"
        cases = [Case("regression", result, compared.reason, shared, compared.reason)]
    return cases


def _of_rule(judgement: Judgement, verdict: Verdict, shared: Mapping[str, str]) -> Case:
    where = words(verdict.where)
    observed = estimate(verdict.observed, Interval(verdict.low, verdict.high), verdict.n, verdict.unit)
    result, message = _result(verdict), f"{verdict.status_text}: {verdict.reason}"
    if judgement.verdict is RunVerdict.INVALID:
        result, message = "error", judgement.reason
    return Case(
        name=verdict.rule if where == "all streams" else f"{verdict.rule} [{where}]",
        result=result,
        message=message,
        properties={**shared, "where": where, **_figures_of_rule(verdict)},
        text="; ".join(
            [
                f"{verdict.rule}, {where}: observed {observed}",
                verdict.reason,
                *judgement.reasons,
                *cells.failures(judgement),
            ]
        ),
        remarks=_findings(judgement),
    )


def _findings(judgement: Judgement) -> list[str]:
    return [f"finding {finding.id}: {finding.advice}. {finding.sentence}" for finding in judgement.findings]


def _result(verdict: Verdict) -> str | None:
    if verdict.status is RuleStatus.MET:
        return None
    return "failure" if verdict.status is RuleStatus.MISSED and verdict.severity == "fail" else "skipped"


def _figures_of_rule(verdict: Verdict) -> dict[str, str]:
    return _given(
        {
            "status": verdict.status.value,
            "severity": verdict.severity,
            "preset": verdict.preset or "",
            "observed": _number(verdict.observed),
            "plain": _number(verdict.plain),
            "limit": _number(verdict.limit),
            "low": _number(verdict.low),
            "high": _number(verdict.high),
            "unit": verdict.unit,
            "n": str(verdict.n),
            "failed": str(verdict.failed),
            "needed": _number(verdict.needed),
        }
    )


_RESULTS = {GateStatus.INCONCLUSIVE: "skipped", GateStatus.REGRESSED: "failure", GateStatus.INVALID: "error"}


def _of_compared(row: Row, shared: Mapping[str, str]) -> Case:
    figures = {
        "status": row.status.value,
        "baseline": _number(row.baseline),
        "candidate": _number(row.candidate),
        "change": _number(row.change),
        "low": _number(row.interval.low),
        "high": _number(row.interval.high),
        "unit": row.unit,
    }
    return Case(
        name=row.subject,
        result=_RESULTS.get(row.status),
        message=f"{row.status}: {row.reason}",
        properties={**shared, **_given(figures)},
        text=f"{row.subject}: {figure(row.baseline, row.unit)} → {figure(row.candidate, row.unit)}; {row.reason}",
    )


def _given(figures: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in figures.items() if text}


def _number(value: float | None) -> str:
    """Empty for None; XML Schema's INF for an infinite one."""
    return "" if value is None else "INF" if math.isinf(value) else f"{value:g}"


# The document


def document(name: str, cases: Iterable[Case], started_at: str, seconds: float) -> str:
    """The XML of these cases. `started_at` is ISO 8601; `seconds` is how long the run took."""
    root = ElementTree.Element("testsuites")
    for number, case in enumerate(cases):
        root.append(_suite(number, name, case, started_at, seconds))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suite(number: int, name: str, case: Case, started_at: str, seconds: float) -> ElementTree.Element:
    suite = ElementTree.Element(
        "testsuite",
        {
            "name": visible(f"{name}: {case.name}"),
            "package": "streamgauge",
            "id": str(number),
            # The schema allows no time zone.
            "timestamp": datetime.fromisoformat(started_at).strftime("%Y-%m-%dT%H:%M:%S"),
            "hostname": "localhost",
            "tests": "1",
            "failures": str(int(case.result == "failure")),
            "errors": str(int(case.result == "error")),
            "skipped": str(int(case.result == "skipped")),
            "time": f"{seconds:.3f}",
        },
    )
    properties = ElementTree.SubElement(suite, "properties")
    for key, value in case.properties.items():
        ElementTree.SubElement(properties, "property", {"name": visible(key), "value": visible(value)})
    testcase = ElementTree.SubElement(
        suite, "testcase", {"name": visible(case.name), "classname": visible(f"streamgauge.{name}"), "time": "0"}
    )
    if case.result is not None:
        result = ElementTree.SubElement(testcase, case.result, {"type": case.result, "message": visible(case.message)})
        result.text = visible(case.text)
    ElementTree.SubElement(suite, "system-out").text = "\n".join(map(visible, (case.text, *case.remarks)))
    ElementTree.SubElement(suite, "system-err")
    return suite
