"""Parses the text of an SLA rule. Pure. `sla` judges the rule; `subjects` parses its left side.

rule  = subject op limit
op    = "<"  |  "<="  |  ">"  |  ">="
limit = number unit                          a time in ms or s; a ratio in % or plain; other units as a plain number

p95(ttft) < 1.5s      p99(itl) < 250ms      error_rate < 1%      output_tps > 500
"""

import re
from collections.abc import Iterable

import msgspec

from streamgauge.harness.config.presets import expanded
from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.verdict import subjects
from streamgauge.harness.judge.verdict.subjects import Subject

OPERATORS = ("<", "<=", ">", ">=")
_MS_PER_UNIT = {"ms": 1.0, "s": 1000.0}
_RULE = re.compile(r"(?P<subject>[^<>=!]*)(?P<op>[<>=!]+)(?P<limit>[^<>=!]*)")
_LIMIT = re.compile(r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>[^\s\d.]*)")


class Rule(msgspec.Struct, frozen=True):
    written: Sla  # its text and its options, from the config or a preset
    subject: Subject
    op: str
    limit: float  # in the subject's unit

    @property
    def text(self) -> str:
        """As it was written, followed by its `for`: a rule with `for` and one without are two rules."""
        lasting = self.written.lasting
        return self.written.rule if lasting is None else f"{self.written.rule} for {lasting}"

    @property
    def wants_low(self) -> bool:
        return self.op.startswith("<")

    def holds(self, value: float) -> bool:
        return {
            "<": value < self.limit,
            "<=": value <= self.limit,
            ">": value > self.limit,
            ">=": value >= self.limit,
        }[self.op]

    def replaces(self, other: "Rule") -> bool:
        """Whether this one, written later, takes the place of a preset's rule: the same figure, limited from the same
        side, of the same streams."""
        return (
            other.written.preset is not None
            and self.wants_low is other.wants_low
            and self.written.where == other.written.where
            and (self.subject.name, self.subject.statistic) == (other.subject.name, other.subject.statistic)
        )


def parse_all(written: Iterable[Sla], file: str | None = None) -> list[Rule]:
    """The rules, presets expanded, without those of a preset that a later table replaces.

    RuleError, with the place in `file` if the rules are from a config file.
    """
    rules: list[Rule] = []
    for place, table in enumerate(written):
        try:
            own = [parse(each) for each in expanded([table])]
        except RuleError as fault:
            raise RuleError(f"{file}: sla[{place}]: {fault}" if file else str(fault)) from None
        rules = [rule for rule in rules if not any(later.replaces(rule) for later in own)] + own
    return rules


def parse(written: Sla) -> Rule:
    """RuleError, in one line that lists what exists, for a text that is not a rule or for contradicting options."""
    text = written.rule
    parts = _RULE.fullmatch(text)
    if parts is None:
        raise RuleError(f"{text!r} is not a rule; write it like 'p95(ttft) < 1.5s' or 'error_rate < 1%'")
    op = parts["op"]
    if op not in OPERATORS:
        raise RuleError(f"{text!r}: no operator {op!r}; there are {', '.join(OPERATORS)}")
    subject = subjects.parse(parts["subject"].strip(), text)
    fault = _fault_of_options(written, subject)
    if fault is not None:
        raise RuleError(f"{text!r}{'' if written.preset is None else f' of preset {written.preset}'}: {fault}")
    return Rule(written, subject, op, limit(text, parts["limit"], subject.name, subject.unit))


def _fault_of_options(written: Sla, subject: Subject) -> str | None:
    """Why this rule cannot have its options; None if it can."""
    if subject.aggregation is None and RATES[subject.name].of_run:
        given = {"where": written.where != Where(), "for": written.lasting is not None, "abort": written.abort}
        for option in (name for name, is_given in given.items() if is_given):
            return f"{subject.name} is known only for the whole run; remove `{option}`"
    if written.min_samples < 0:
        return f"min_samples: {written.min_samples} is negative"
    if written.lasting == 0:
        return "for: must be longer than 0"
    if written.abort and written.severity == "warn":
        return 'a rule with severity = "warn" cannot abort a run; remove `abort` or `severity`'
    return None if written.abort or written.grace is None else "grace needs abort = true"


def limit(text: str, written: str, name: str, unit_of_subject: str) -> float:
    """The number in the text of a limit, in the unit of what is limited. RuleError quotes the whole `text`."""
    parts = _LIMIT.fullmatch(written.strip())
    if parts is None:
        raise RuleError(f"{text!r}: {written.strip()!r} is not a limit; write a number and a unit, as in 1.5s or 1%")
    number, unit = float(parts["number"]), parts["unit"]
    if unit_of_subject == "ms":
        if unit not in _MS_PER_UNIT:
            problem = f"no unit {unit!r} for {name}" if unit else "the limit has no unit"
            raise RuleError(f"{text!r}: {problem}; there are {', '.join(_MS_PER_UNIT)}")
        return number * _MS_PER_UNIT[unit]
    if unit_of_subject == "ratio":
        if unit not in {"%", ""}:
            raise RuleError(f"{text!r}: no unit {unit!r} for {name}; write 1% or 0.01")
        ratio = number / 100 if unit else number
        if ratio > 1:
            meant = "" if unit else f"; did you mean {written.strip()}%?"
            raise RuleError(f"{text!r}: {name} is never above 100 %{meant}")
        return ratio
    if unit:
        raise RuleError(f"{text!r}: no unit {unit!r} for {name}; it is in {unit_of_subject}, so write a plain number")
    return number
