"""Measurements: takes a run's streams once, batch by batch; then gives the figures of any selection of them. Pure."""

import copy
import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np

from streamgauge.harness.config.schema import Reader, Where
from streamgauge.harness.judge.measure import gaps, reader_model
from streamgauge.harness.judge.measure.arrays import Integers
from streamgauge.harness.judge.measure.distribution import Distribution, Gathered, distribution, gather
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.totals import SUMS, Totals
from streamgauge.harness.judge.store import Streams, combinations, matches
from streamgauge.harness.record.observation import Outcome

_KEYS = Where.keys()
_Texts = tuple[str, ...]  # the values of _KEYS, then the labels as JSON


@dataclass
class _Cohort:
    """What was measured of one cohort: streams that every rule either selects together or leaves out together."""

    gathered: dict[str, Gathered] = field(default_factory=lambda: defaultdict(Gathered))  # by metric
    sums: dict[str, float] = field(default_factory=dict)  # by the name of SUMS
    outcomes: dict[str, int] = field(default_factory=dict)
    oddities: Counter[str] = field(default_factory=Counter)  # how many streams had each


class Measurements:
    """Streams fall into cohorts: those that are equal in every key of `where` and in the labels of `labels`.

    Every selection is a union of cohorts. `reader` is the reader model's person; `only` names the metrics that will
    be asked for (None: all).
    """

    def __init__(
        self, labels: Iterable[str] = (), reader: Reader | None = None, only: Collection[str] | None = None
    ) -> None:
        self._labels = sorted(set(labels))
        self._metrics = [metric for name, metric in METRICS.items() if only is None or name in only]
        names = {metric.name for metric in self._metrics}
        # Of metrics that were the same in all streams so far, the second: it is not gathered, which would take as long
        # as for the first. It is separated where they differ, and before one is read, which thins samples.
        self._same_as = {metric.name: metric.twin for metric in self._metrics if metric.twin and metric.twin in names}
        self._parts: list[Measurements] = []
        self._of_all: dict[str, Distribution] = {}  # by metric, over all streams: rules and summaries ask for the same
        self.reader = reader or Reader()
        self._needs_waits = self.reader.good.longest_stall is not None or any(
            column in reader_model.COLUMNS for metric in self._metrics for column in metric.columns
        )
        good = self.reader.good
        needs_course = good.tpot is not None or self._needs_waits or any(metric.of_course for metric in self._metrics)
        self._sums = [each for each in SUMS.values() if needs_course or not each.of_course]
        self._cohorts: dict[_Texts, _Cohort] = {}
        self.began, self.ended = math.inf, -math.inf  # ns: the first stream's start and the last one's end
        self.of_run: dict[str, float] = {}  # sums that are known only of the whole run

    def arranged(self, streams: Streams) -> Streams:
        """The same streams, sorted by cohort. Call it before their events are decoded: the result decodes them anew."""
        code, _ = self._sorted_into_cohorts(streams)
        return streams if (np.diff(code) >= 0).all() else streams.select(np.argsort(code, kind="stable"))

    def take(self, streams: Streams) -> Streams:
        """Measure these streams, and return them as they were measured: with the columns of the reader model if a
        metric needs them. Any order is accepted; the order of `arranged` is the fastest, and only that one is kept."""
        self._of_all.clear()
        code, cohorts = self._sorted_into_cohorts(streams)
        if (np.diff(code) < 0).any():
            streams = self.arranged(streams)
            code, cohorts = self._sorted_into_cohorts(streams)
        bounds = np.searchsorted(code, np.arange(len(cohorts) + 1))
        if self._needs_waits:
            streams = with_waits(streams, self.reader)
        if cohorts:
            self._take_metrics(streams, cohorts, bounds)
            self._take_totals(streams, cohorts, bounds)
        return streams

    def _take_metrics(self, streams: Streams, cohorts: list[_Cohort], bounds: Integers) -> None:
        seen = {metric.name: metric.observe(streams) for metric in self._metrics}
        self._separate({name for name, twin in self._same_as.items() if seen[name].ticks is not seen[twin].ticks})
        for metric in self._metrics:
            if metric.name not in self._same_as:
                parts = [cohort.gathered[metric.name] for cohort in cohorts]
                gather(metric, seen[metric.name], streams.id, bounds, parts)

    def _separate(self, names: Collection[str]) -> None:
        """Gather these metrics on their own from now on."""
        for name in names:
            twin = self._same_as.pop(name)
            for cohort in self._cohorts.values():
                cohort.gathered[name] = copy.deepcopy(cohort.gathered[twin])

    def _take_totals(self, streams: Streams, cohorts: list[_Cohort], bounds: Integers) -> None:
        number = streams.number
        self.began = min(self.began, float(np.fmin.reduce(number["started_at"], initial=math.inf)))
        self.ended = max(self.ended, float(number["ended_at"].max(initial=-math.inf)))
        for each in self._sums:
            sums = np.add.reduceat(each.of(streams, self.reader.good), bounds[:-1], dtype=np.float64).tolist()
            for cohort, value in zip(cohorts, sums, strict=True):
                cohort.sums[each.name] = cohort.sums.get(each.name, 0.0) + value
        odd = ~streams.text["oddities"].are("")
        has_odd = bool(odd.any())
        for cohort, mine in zip(cohorts, itertools.starmap(slice, itertools.pairwise(bounds.tolist())), strict=True):
            for outcome, count in streams.text["outcome"].counts(mine).items():
                cohort.outcomes[outcome] = cohort.outcomes.get(outcome, 0) + count
            for place in (mine.start + np.flatnonzero(odd[mine])).tolist() if has_odd else ():
                cohort.oddities.update(json.loads(streams.text["oddities"][place]).keys())

    def _sorted_into_cohorts(self, streams: Streams) -> tuple[Integers, list[_Cohort]]:
        """For each stream the index of its cohort in the list."""
        columns = [streams.text[name] for name in _KEYS]
        columns.append(streams.text["labels"].mapped(self._labels_of))
        found, code = combinations(columns)
        return code, [self._cohorts.setdefault(texts, _Cohort()) for texts in found]

    def _labels_of(self, text: str) -> str:
        if text == "{}" or not self._labels:
            return "{}"
        labels = json.loads(text)
        return json.dumps({name: labels[name] for name in self._labels if name in labels})

    def values(self, key: str) -> list[str]:
        """The values that occurred under a key of `where`: "network", or "label.NAME"."""
        if key.startswith("label."):
            occurred = (json.loads(texts[-1]).get(key.removeprefix("label.")) for texts, _ in self._all())
        else:
            occurred = (texts[_KEYS.index(key)] for texts, _ in self._all())
        return sorted({value for value in occurred if value})

    @classmethod
    def joined(cls, parts: Iterable["Measurements"]) -> "Measurements":
        """The measurements of all parts' streams together. The result must not `take` streams itself."""
        whole = cls()
        whole._parts = list(parts)
        return whole

    def _all(self) -> Iterator[tuple[_Texts, _Cohort]]:
        return itertools.chain(self._cohorts.items(), *(part._all() for part in self._parts))

    def _selected(self, where: Where | None) -> Iterator[_Cohort]:
        for texts, cohort in self._all():
            if where is None or matches(where, dict(zip((*_KEYS, "labels"), texts, strict=True))):
                yield cohort

    def distribution(self, name: str, where: Where | None = None) -> Distribution:
        """One of METRICS over the streams that `where` selects."""
        if self._parts or (where is not None and where != Where()):
            return self._distribution(name, where)
        if name not in self._of_all:
            self._of_all[name] = self._distribution(name, where)
        return self._of_all[name]

    def _distribution(self, name: str, where: Where | None) -> Distribution:
        metric = METRICS[name]
        for part in (self, *self._parts):
            part._separate([*part._same_as])
        if metric.streaming and (where is None or where.answer is None):
            where = msgspec.structs.replace(where or Where(), answer="streamed")
        return distribution(metric, [cohort.gathered[name] for cohort in self._selected(where)])

    def totals(self, where: Where | None = None) -> Totals:
        outcomes: dict[str, int] = {}
        oddities: Counter[str] = Counter()
        sums: dict[str, float] = {}
        for cohort in self._selected(where):
            oddities.update(cohort.oddities)
            for name, count in cohort.outcomes.items():
                outcomes[name] = outcomes.get(name, 0) + count
            for name, value in cohort.sums.items():
                sums[name] = sums.get(name, 0.0) + value
        if where is None or where == Where():
            sums |= self.of_run
        occurred = {str(outcome): outcomes[outcome] for outcome in Outcome if outcome in outcomes}
        return Totals(occurred, sums, dict(oddities))


def measure(batches: Iterable[Streams], labels: Iterable[str] = (), reader: Reader | None = None) -> Measurements:
    """Take every batch; `labels` are the label names that selections will use."""
    measurements = Measurements(labels, reader)
    for streams in batches:
        measurements.take(streams)
    return measurements


def with_waits(streams: Streams, reader: Reader) -> Streams:
    """The same streams with the columns of the reader model."""
    complete = streams.ended_as({Outcome.COMPLETED})
    broke_at = np.where(complete, np.nan, streams.number["ended_at"] / 1e3)
    waits = reader_model.waits(streams.events, broke_at, reader.characters_per_second, gaps.seen_ends(streams))
    at_once = gaps.with_unstreamed_text(streams)
    for column in waits.values():
        column[at_once] = np.nan  # nothing to wait for, and nothing that says how smoothly it was generated
    return streams.with_numbers(waits)
