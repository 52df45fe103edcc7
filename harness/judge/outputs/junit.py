"""JUnit XML, for the test pages of CI systems: each rule (of a comparison: each metric) is a case, under a name that
stays the same from run to run.

A missed rule is a failure; one that only warns is skipped, as an inconclusive one is, with the reason. Where the run is
invalid every rule is an error. Each rule has a suite of its own, since only suites may have properties: there its
figures are. Valid by the schema of Ant's reports (Windy Road's JUnit.xsd), the strictest of those in use, and by
Jenkins's junit-10.xsd.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from xml.etree import ElementTree

from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus, Row
from streamgauge.harness.judge.figures import estimate, figure
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import Verdict
from streamgauge.harness.judge.wording import visible, words


class Case(NamedTuple):
    name: str
    result: str | None  # failure, error or skipped; None: passed
    message: str
    properties: Mapping[str, str]
    text: str  # what there is to read about it


def render(judgement: Judgement) -> str:
    run = judgement.run
    about = {"run": run.id, "host": run.host, "verdict": judgement.verdict, "validity": judgement.validity.value}
    cases = [_case(judgement, verdict, about) for verdict in judgement.verdicts]
    if not cases:
        result = "error" if judgement.verdict == "invalid" else "skipped"
        cases = [Case("SLA rules", result, judgement.reason, about, judgement.reason)]
    return document(run.scenario, cases, run.started_at, judgement.seconds)


def comparison(found: Comparison) -> str:
    about = {"against": found.baseline, "verdict": found.status.value}
    cases = [_compared(row, about) for row in found.rows]
    if not cases:
        result = "error" if found.status is GateStatus.INVALID else "skipped"
        cases = [Case("regression", result, found.reason, about, found.reason)]
    return document(f"against {found.baseline}", cases, datetime.now(UTC).isoformat(), 0)


def document(name: str, cases: Iterable[Case], started_at: str, seconds: float) -> str:
    """`started_at` is ISO 8601; `seconds` is how long it took to get at what the cases tell."""
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
            "timestamp": datetime.fromisoformat(started_at).strftime("%Y-%m-%dT%H:%M:%S"),  # the schema bars zones
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
    told = ElementTree.SubElement(
        suite, "testcase", {"name": visible(case.name), "classname": visible(f"streamgauge.{name}"), "time": "0"}
    )
    if case.result is not None:
        why = ElementTree.SubElement(told, case.result, {"type": case.result, "message": visible(case.message)})
        why.text = visible(case.text)
    ElementTree.SubElement(suite, "system-out").text = visible(case.text)
    ElementTree.SubElement(suite, "system-err")
    return suite


_RESULTS = {"missed": "failure", "inconclusive": "skipped", "regressed": "failure", "invalid": "error"}


def _case(judgement: Judgement, verdict: Verdict, about: Mapping[str, str]) -> Case:
    invalid = judgement.verdict == "invalid"
    result = "skipped" if verdict.status_text == "missed (only warns)" else _RESULTS.get(verdict.status)
    where = words(verdict.where)
    observed = estimate(verdict.observed, Interval(verdict.low, verdict.high), verdict.n, verdict.unit)
    figures = {
        "status": verdict.status.value,
        "severity": verdict.severity,
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
    return Case(
        name=verdict.rule if where == "all streams" else f"{verdict.rule} [{where}]",
        result="error" if invalid else result,
        message=judgement.reason if invalid else f"{verdict.status_text}: {verdict.reason}",
        properties={**about, "where": where, **{key: value for key, value in figures.items() if value}},
        text=f"{verdict.rule}, {where}: observed {observed}; {verdict.reason}",
    )


def _compared(row: Row, about: Mapping[str, str]) -> Case:
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
        properties={**about, **{key: value for key, value in figures.items() if value}},
        text=f"{row.subject}: {figure(row.baseline, row.unit)} → {figure(row.candidate, row.unit)}; {row.reason}",
    )


def _number(value: float | None) -> str:
    """Empty where there is none; XML Schema's INF where it is infinite."""
    return "" if value is None else "INF" if math.isinf(value) else f"{value:g}"
