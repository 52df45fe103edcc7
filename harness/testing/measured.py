"""A run within a program, and its figures as values to compare. For tests: see `pytest_plugin`.

Locust runs in a process of its own, since it would monkey-patch this one. Times are in seconds here, as in `run_time`
and in Python. A comparison holds only if the rule that it stands for is MET: with the whole interval, with failures as
+∞, and never where the run is invalid; so neither `x < 1` nor `x >= 1` holds where too little is known.
"""

import math
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
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
from streamgauge.harness.judge.outputs import dispatch
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import judgement, rules, sla, subjects
from streamgauge.harness.judge.verdict.judgement import Judgement, RunVerdict
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict
from streamgauge.harness.judge.verdict.subjects import Subject

_COMMAND = [sys.executable, "-c", "from streamgauge.harness.cli import main; main(prog_name='streamgauge')"]


class Streamgauge:
    """What the fixture is."""

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
        """Run a scenario, as `streamgauge run` does, and wait for its end. The test fails where that cannot run.

        `options` are the command's, as in `config="ci.toml", spawn_rate=10, label=["build=abc"]`; `locust` is given to
        Locust as it is. A run that missed its SLA is returned like any other: `verdict` says so.
        """
        self._runs += 1
        folder = self._folder / f"streamgauge-{self._runs}"
        given = {"host": host, "run_time": run_time, "users": users, **options}
        places = {"db": folder / "run.db", "report": folder / "report.html"}
        command = [*_COMMAND, "run", scenario, *_flags({**given, **places})]
        ended = subprocess.run(
            [*command, *(["--", *locust] if locust else [])],
            env=dispatch.environment_without_github(),  # pytest reports its tests itself
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode not in VERDICTS:
            pytest.fail(ended.stderr.strip(), pytrace=False)
        sys.stdout.write(ended.stdout)  # pytest shows it with a failure
        return Run(places["db"], places["report"], ended.returncode)


def _flags(options: Mapping[str, object]) -> Iterable[str]:
    for name, value in options.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if one is not None:
                yield from (f"--{name.replace('_', '-')}", str(one))


class Run:
    """A run that is over. StreamgaugeError, which lists what exists, for a metric or a selection that does not."""

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
        """Of all streams, or of those that `where` selects: `run.p95("ttft", network="slow_4g")`."""
        return self.measured(f"p95({metric})", **where)

    def p99(self, metric: str, **where: Any) -> "Measured":
        return self.measured(f"p99({metric})", **where)

    def rate(self, name: str, **where: Any) -> "Measured":
        """error_rate, completion_rate, output_tps, …; ratios are between 0 and 1."""
        return self.measured(name, **where)

    def measured(self, subject: str, **where: Any) -> "Measured":
        """What the left side of an SLA rule may be: `p99.9(itl)`, `mean(e2e)`, `max(ttft)`, `error_rate`."""
        return Measured(self, subjects.parse(subject), _where(where))

    def judge(self, rule: Rule) -> Verdict:
        """By the streams of this run."""
        measurements, names = self.judgement.measurements, rule.written.where.label
        if names:  # which streams have which labels is known of those only that were asked for
            with Store.open(self.db) as store:
                measurements = measure(store.streams(self.judgement.run.id), names, self.judgement.reader)
        return sla.evaluate(rule, measurements, self.judgement.seconds)

    def __repr__(self) -> str:
        return f"<run {self.judgement.run.id}: {self.verdict}>"


def _where(given: Mapping[str, Any]) -> Where:
    try:
        return msgspec.convert(given, Where)
    except msgspec.ValidationError as fault:
        raise RuleError(f"{fault}; a selection may have {', '.join(Where.__struct_fields__)}") from None


class Measured(float):
    """A figure of a run: seconds for a time, else what its metric says; NaN where nothing was observed."""

    def __new__(cls, run: Run, subject: Subject, where: Where) -> "Measured":
        observed = run.judge(_rule(subject, where, "<", math.inf)).observed
        return super().__new__(cls, math.nan if observed is None else observed / _scale(subject))

    def __init__(self, run: Run, subject: Subject, where: Where) -> None:
        self.run = run
        self._subject = subject
        self._where = where

    def against(self, op: str, limit: float) -> Verdict:
        """The verdict of the rule that a comparison stands for."""
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
        """Why a comparison does not hold, line by line."""
        told = [f"{self!r} {op} {limit}"]
        if op in rules.OPERATORS:
            verdict = self.against(op, limit)
            invalid = self.run.verdict == "invalid"
            told.append(f"invalid: {self.run.judgement.reason}" if invalid else f"{verdict.status}: {verdict.reason}")
        return [*told, f"verdict, every figure and the outcomes: captured stdout, and {self.run.report}"]

    def __repr__(self) -> str:
        found = self.against("<", math.inf)
        told = estimate(found.observed, Interval(found.low, found.high), found.n, found.unit)
        return f"{self._subject.text} = {told}"

    __hash__ = float.__hash__


def _rule(subject: Subject, where: Where, op: str, limit: float) -> Rule:
    return Rule(Sla(rule=f"{subject.text} {op} {limit:g}", where=where), subject, op, limit)


def _scale(subject: Subject) -> float:
    """ms to s; the rest stays."""
    return 1_000.0 if subject.unit == "ms" else 1.0
