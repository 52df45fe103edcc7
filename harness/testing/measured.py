"""Runs that a test starts, and their figures as values to compare. The fixture is in `testing.plugin`.

Locust runs as a process of its own, because it would monkey-patch this one. Times are in seconds. A comparison is true
only if the SLA rule with the same subject, operator and limit is MET: the whole interval is within the limit, failed
streams count as +∞, and the run is valid. So with too few samples neither `x < 1` nor `x >= 1` is true.
"""

import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import RuleError
from streamgauge.harness.exit_codes import VERDICTS
from streamgauge.harness.judge.figures import estimate
from streamgauge.harness.judge.measure.measurements import measure
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.outputs import kinds, lines
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import judgement, rules, sla, subjects
from streamgauge.harness.judge.verdict.judgement import Judgement, RunVerdict
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict
from streamgauge.harness.judge.verdict.subjects import Subject
from streamgauge.harness.judge.wording import visible
from streamgauge.harness.testing.command import COMMAND, flags


class Streamgauge:
    """The value of the fixture: runs scenarios, each in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0

    def run(
        self,
        scenario: str,
        *,
        host: str,
        run_time: str,
        users: int | None = None,
        locust: Sequence[str] = (),
        **options: object,
    ) -> "Run":
        """Run a scenario, as `streamgauge run` does, and wait for its end. The test fails if it cannot run.

        `options` are those of the command, as in `config="ci.toml", spawn_rate=10, label=["build=abc"]`; `locust` goes
        to Locust unchanged. A run that missed its SLA is returned too: its `verdict` says so.
        """
        self._runs += 1
        folder = self._folder / f"streamgauge-{self._runs}"
        folder.mkdir()
        arguments = {"host": host, "run_time": run_time, "users": users, **options}
        files = {"db": folder / "run.db", "report": folder / "report.html"}
        command = [*COMMAND, "run", scenario, *flags({**arguments, **files})]
        ended = subprocess.run(
            [*command, *(["--", *locust] if locust else [])],
            env=kinds.environment_without_github(),  # pytest reports to GitHub itself
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode not in VERDICTS:
            pytest.fail("\n".join(map(visible, ended.stderr.strip().splitlines())), pytrace=False)
        lines.show(*ended.stdout.splitlines())  # pytest shows it if the test fails
        return Run(files["db"], files["report"], ended.returncode)


class Run:
    """A finished run. An unknown metric or selection raises a StreamgaugeError that lists those that exist."""

    def __init__(self, db: Path, report: Path, exit_code: int) -> None:
        self.db = db
        self.report = report
        self.exit_code = exit_code  # by the rules of its config
        with Store.open(db) as store:
            self.judgement: Judgement = judgement.judge(store)

    @property
    def verdict(self) -> RunVerdict:
        return self.judgement.verdict

    def p50(self, metric: str, **where: Any) -> "Measured":
        return self.measured(f"p50({metric})", **where)

    def p95(self, metric: str, **where: Any) -> "Measured":
        """Of all streams, or of the streams that `where` selects: `run.p95("ttft", network="slow_4g")`."""
        return self.measured(f"p95({metric})", **where)

    def p99(self, metric: str, **where: Any) -> "Measured":
        return self.measured(f"p99({metric})", **where)

    def rate(self, name: str, **where: Any) -> "Measured":
        """error_rate, completion_rate, output_tps, …; ratios are between 0 and 1."""
        return self.measured(name, **where)

    def measured(self, subject: str, **where: Any) -> "Measured":
        """Whatever an SLA rule may have on its left side: `p99.9(itl)`, `mean(e2e)`, `max(ttft)`, `error_rate`."""
        return Measured(self, subjects.parse(subject), _where(where))

    def judge(self, rule: Rule) -> Verdict:
        """The verdict of an SLA rule on this run."""
        measurements, names = self.judgement.measurements, rule.written.where.label
        if names:  # the judgement's measurements can select only by the labels that its own rules name
            with Store.open(self.db) as store:
                measurements = measure(store.streams(self.judgement.run.id), names, self.judgement.reader)
        return sla.evaluate(rule, measurements, self.judgement.seconds)

    def __repr__(self) -> str:
        return f"<run {self.judgement.run.id}: {self.verdict}>"


def _where(selection: Mapping[str, Any]) -> Where:
    try:
        return msgspec.convert(selection, Where)
    except msgspec.ValidationError as fault:
        raise RuleError(f"{fault}; a selection may have {', '.join(Where.__struct_fields__)}") from None


class Measured(float):
    """A figure of a run: a time in seconds, anything else in its metric's unit; NaN if nothing was observed."""

    def __new__(cls, run: Run, subject: Subject, where: Where) -> "Measured":
        observed = run.judge(_rule(subject, where, "<", math.inf)).observed
        return super().__new__(cls, math.nan if observed is None else observed / _scale(subject))

    def __init__(self, run: Run, subject: Subject, where: Where) -> None:
        self.run = run
        self._subject = subject
        self._where = where

    def against(self, op: str, limit: float) -> Verdict:
        """The verdict of the SLA rule with this operator and limit."""
        return self.run.judge(_rule(self._subject, self._where, op, float(limit) * _scale(self._subject)))

    def _holds(self, op: str, limit: float) -> bool:
        return self.run.verdict != "invalid" and self.against(op, limit).status is RuleStatus.MET

    def __lt__(self, limit: float) -> bool:
        return self._holds("<", limit)

    def __le__(self, limit: float) -> bool:
        return self._holds("<=", limit)

    def __gt__(self, limit: float) -> bool:
        return self._holds(">", limit)

    def __ge__(self, limit: float) -> bool:
        return self._holds(">=", limit)

    def explain(self, op: str, limit: Any) -> list[str]:
        """Lines that say why a comparison does not hold."""
        lines = [f"{self!r} {op} {limit}"]
        if op in rules.OPERATORS:
            verdict = self.against(op, limit)
            invalid = self.run.verdict == "invalid"
            lines.append(f"invalid: {self.run.judgement.reason}" if invalid else f"{verdict.status}: {verdict.reason}")
        return [*lines, f"verdict, every figure and the outcomes: captured stdout, and {self.run.report}"]

    def __repr__(self) -> str:
        verdict = self.against("<", math.inf)
        figure = estimate(verdict.observed, Interval(verdict.low, verdict.high), verdict.n, verdict.unit)
        return f"{self._subject.text} = {figure}"


def _rule(subject: Subject, where: Where, op: str, limit: float) -> Rule:
    return Rule(Sla(rule=f"{subject.text} {op} {limit:g}", where=where), subject, op, limit)


def _scale(subject: Subject) -> float:
    """How many of the metric's units are one unit of `Measured`, which has times in seconds."""
    return 1_000.0 if subject.unit == "ms" else 1.0
