"""The rules as they are asked of one stream, so that each stream is good or bad. Pure.

p95(ttft) < 1.5s lets 5 % of the streams take longer: a stream that does, or that failed, breaks it. A rule of a pooled
metric, such as p95(itl) < 200ms, is broken by a stream of whose own gaps the p95 is beyond the limit. error_rate < 1%
lets 1 % of the streams fail. Where rules allow different shares, each share is a limit of its own: a stream counts in a
limit if it breaks a rule that allows as much or less.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from streamgauge.harness.capacity.streams import Batch, Limit
from streamgauge.harness.config.schema import Good, Reader
from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.measure import reader_model
from streamgauge.harness.judge.measure.arrays import Floats, Integers, Mask
from streamgauge.harness.judge.measure.measurements import with_waits
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.observe import Observed
from streamgauge.harness.judge.measure.totals import SUMS
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.judge.verdict.rules import Rule
from streamgauge.harness.record.observation import ABANDONED, FAILURES, Outcome

_LEAST = 0.0001  # share that a rule may allow: to show less takes more than a million streams at each level


def _ended(*outcomes: Outcome) -> Callable[[Streams, Good], Mask]:
    return lambda streams, _: streams.ended_as(frozenset(outcomes))


def _incomplete(streams: Streams, _: Good) -> Mask:
    return ~streams.ended_as({Outcome.COMPLETED, *ABANDONED})


def _not_good(streams: Streams, good: Good) -> Mask:
    bad: Mask = SUMS["not_good"].of(streams, good).astype(bool)
    return bad


# Rates that are a share of streams, with the streams that spoil each; and whether the rate is the share of the others.
_OF_STREAMS: dict[str, tuple[Callable[[Streams, Good], Mask], bool]] = {
    "error_rate": (_ended(*FAILURES), False),
    "truncation_rate": (_ended(Outcome.TRUNCATED), False),
    "empty_rate": (_ended(Outcome.EMPTY), False),
    "timeout_rate": (_ended(Outcome.TIMED_OUT), False),
    "completion_rate": (_incomplete, True),
    "goodput": (_not_good, True),
}
_WORKS = f"rules with a percentile, such as p95(ttft) < 1.5s, and {', '.join(_OF_STREAMS)}"


@dataclass(frozen=True, slots=True)
class OfStream:
    """One rule, as it is asked of one stream."""

    rule: Rule
    share: float  # of the streams that may break it

    @classmethod
    def of(cls, rule: Rule) -> "OfStream":
        """RuleError for a rule that says nothing of one stream."""
        share = _allowed(rule)
        if share is None:
            raise RuleError(
                f"{rule.text!r} says nothing of one stream, and capacity judges each stream: there are {_WORKS}; "
                f'write it with severity = "warn", or give another --config'
            )
        if share < _LEAST:
            raise RuleError(
                f"{rule.text!r} allows fewer than 1 in 10,000 streams to break it, which no search can show: "
                f"write a share of 0.01 % or more"
            )
        if share >= 1:
            raise RuleError(
                f"{rule.text!r} lets all streams break it, so no load is too high for it: write another limit"
            )
        return cls(rule, share)


def _of_level(rule: Rule) -> Rule:
    """The rule for one level, which has one load: without `for`, which is about how long a load may be too much."""
    return msgspec.structs.replace(rule, written=msgspec.structs.replace(rule.written, lasting=None, min_samples=0))


def _allowed(rule: Rule) -> float | None:
    """The share of streams that may break the rule; None if it is about something else."""
    subject, q = rule.subject, rule.subject.quantile
    if q is not None:
        return 1 - q if rule.wants_low else q
    if subject.aggregation is not None or subject.name not in _OF_STREAMS:
        return None
    share_of_others = _OF_STREAMS[subject.name][1]
    if rule.wants_low is share_of_others:
        return None
    return 1 - rule.limit if share_of_others else rule.limit


class Judging:
    """What makes the streams of a search good or bad. Rules that only warn are left out."""

    def __init__(self, rules: Iterable[Rule], reader: Reader) -> None:
        """RuleError for a rule that says nothing of one stream, or if there is no rule."""
        self._asked = [OfStream.of(_of_level(rule)) for rule in rules if rule.written.severity == "fail"]
        if not self._asked:
            raise RuleError("capacity needs a rule that fails: write [[sla]] into the config, or give another --config")
        self._reader = reader
        for each in self._asked:
            if each.rule.subject.name == "goodput" and reader.good == Good():
                raise RuleError(
                    f"{each.rule.text!r} needs limits of a good stream: write [reader] good into the config"
                )
        keys = {(str(msgspec.to_builtins(each.rule.written.where)), round(each.share, 12)) for each in self._asked}
        self._groups = [self._group(*key) for key in sorted(keys)]
        self.limits = [
            Limit(max(each.share for each in group), tuple(each.rule.text for each in group)) for group in self._groups
        ]
        names = {each.rule.subject.name for each in self._asked if each.rule.subject.aggregation is not None}
        columns = {column for name in names for column in METRICS[name].columns}
        self._needs_waits = reader.good.longest_stall is not None or bool(columns & {*reader_model.COLUMNS})
        self._known = dict.fromkeys((each.rule.text for each in self._asked), 0)
        self._wanted = dict.fromkeys(self._known, 0)

    def _group(self, where: str, share: float) -> list[OfStream]:
        return [
            each
            for each in self._asked
            if str(msgspec.to_builtins(each.rule.written.where)) == where and round(each.share, 12) <= share
        ]

    def waits_since_sent(self, streams: Streams) -> "tuple[list[Limit], Batch] | None":
        """The limits of rules about waits since a stream was due, and the streams, as if each was due when it was sent.

        What is bad even so is not because of a generator that sent it late. Streams without an answer are left out:
        such a generator may be why. None: there is no such rule.
        """
        rules = [each.rule for each in self._asked if _is_wait(each.rule)]
        if not rules:
            return None
        judging = Judging(rules, self._reader)
        streams = streams.select(np.flatnonzero(~streams.ended_as({Outcome.UNREACHABLE, Outcome.TIMED_OUT})))
        due, sent = streams.number["due_at"], streams.number["sent_at"]
        moved = replace(streams, number={**streams.number, "due_at": np.where(np.isnan(sent), due, sent)})
        return judging.limits, judging.batch(moved)

    @property
    def longest_wait(self) -> float | None:
        """The longest time since it was due that a rule allows a stream, in seconds; None: no rule limits one."""
        return max((each.rule.limit / 1000 for each in self._asked if _is_wait(each.rule)), default=None)

    @property
    def rules(self) -> list[Rule]:
        return [each.rule for each in self._asked]

    def silent(self) -> str:
        """Why the streams so far do not tell whether a rule is kept: "" if they do.

        A server that tells no token counts must not pass a rule on tpot.
        """
        for text, wanted in self._wanted.items():
            if 2 * self._known[text] < wanted:
                return f"{text!r}: {wanted - self._known[text]:,} of {wanted:,} streams have no figure for it"
        return ""

    def batch(self, streams: Streams) -> Batch:
        """These streams, judged. They must be in the order in which they were due."""
        if self._needs_waits:
            streams = with_waits(streams, self._reader)
        broken = {each.rule.text: self._broken(each, streams) for each in self._asked}
        failed = streams.ended_as(FAILURES)
        score = np.max([one.score for one in broken.values()], axis=0)
        bad, counted = [], []
        for group in self._groups:
            found = [broken[each.rule.text] for each in group]
            mine = np.any([one.counted for one in found], axis=0)
            counted.append(mine)
            bad.append(mine & (failed | np.any([one.broken for one in found], axis=0)))
        return Batch(np.array(bad), np.array(counted), np.where(failed, np.inf, score))

    def _broken(self, asked: OfStream, streams: Streams) -> "_Broken":
        selected = _selected(asked.rule, streams)
        failed, abandoned = streams.ended_as(FAILURES), streams.ended_as(ABANDONED)
        if asked.rule.subject.aggregation is None:
            spoils, _ = _OF_STREAMS[asked.rule.subject.name]
            broken = spoils(streams, self._reader.good)
            known, score = ~abandoned, np.zeros(len(streams))
        else:
            value, waited = _figures(asked.rule, streams)
            known = ~np.isnan(value) & ~streams.ended_as({Outcome.INTERRUPTED})
            # Somebody who left before the first token has waited for it in vain only if that was beyond the limit.
            left = streams.ended_as({Outcome.CANCELLED}) & np.isnan(value)
            known |= left & ~_holds(asked.rule, waited)
            broken = known & ~_holds(asked.rule, np.where(left, waited, value))
            score = np.where(known, _nearness(asked.rule, value), 0.0)
        complete = selected & streams.ended_as({Outcome.COMPLETED})
        self._wanted[asked.rule.text] += int(complete.sum())
        self._known[asked.rule.text] += int((complete & known).sum())
        return _Broken(selected & (known | failed), selected & (broken | failed), np.where(selected, score, 0.0))


def _is_wait(rule: Rule) -> bool:
    """Whether it limits a time since a stream was due."""
    subject = rule.subject
    return subject.aggregation is not None and rule.wants_low and "due_at" in METRICS[subject.name].columns


@dataclass(frozen=True, slots=True)
class _Broken:
    counted: Mask  # the streams that the rule is about, and that tell something of it
    broken: Mask
    score: Floats


def _selected(rule: Rule, streams: Streams) -> Mask:
    where = rule.written.where
    selected: Mask = streams.selected_by(where)
    if rule.subject.aggregation is not None and METRICS[rule.subject.name].streaming and where.answer is None:
        selected = selected & streams.text["answer"].are("streamed")
    return selected


def _figures(rule: Rule, streams: Streams) -> tuple[Floats, Floats]:
    """By stream, in the rule's unit: its figure, NaN if it has none; and how long it went on."""
    metric = METRICS[rule.subject.name]
    observed = metric.observe(streams)
    q = rule.subject.quantile
    assert q is not None
    waited = (streams.number["ended_at"] - streams.number["due_at"]) / 1e6
    waited = waited if rule.wants_low and metric.name in {"ttft", "ttft_text"} else np.full(len(streams), np.nan)
    return _own_quantile(observed, q) / metric.ticks_per_unit, waited


def _own_quantile(observed: Observed, q: float) -> Floats:
    """By stream: the quantile of its own samples, in the metric's ticks."""
    counts = observed.counts
    value = np.full(len(counts), np.nan)
    has = np.flatnonzero(counts)
    if not len(has):
        return value
    owner: Integers = np.repeat(np.arange(len(counts)), counts)
    ordered = observed.ticks[np.lexsort((observed.ticks, owner))]
    ends = np.cumsum(counts)[has]
    ranks = np.maximum(1, np.ceil(q * counts[has] - 1e-9).astype(np.int64))
    value[has] = ordered[ends - counts[has] + ranks - 1]
    return value


def _holds(rule: Rule, value: Floats) -> Mask:
    """By stream: whether its figure is within the limit. NaN is."""
    beyond: Mapping[str, Callable[[], Mask]] = {
        "<": lambda: value >= rule.limit,
        "<=": lambda: value > rule.limit,
        ">": lambda: value <= rule.limit,
        ">=": lambda: value < rule.limit,
    }
    return ~beyond[rule.op]()


def _nearness(rule: Rule, value: Floats) -> Floats:
    """How near each stream came to the limit: larger is nearer, and worse."""
    with np.errstate(divide="ignore", invalid="ignore"):
        near = value / rule.limit if rule.wants_low else rule.limit / value
    return np.nan_to_num(near, nan=0.0, posinf=np.inf)
