"""Parts of a run, of which the page's reader may choose one: its figures are computed before, and the page shows them.

A part is one user class, one network, or one value of a label that the measurements keep apart.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.measure.totals import Totals
from streamgauge.harness.judge.store import Streams, combinations, matches
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.summary import Summary, summary
from streamgauge.reports.series import Series

MOST = 40  # parts of a page: those with the most streams
SHOWN_OF_PARTS = ("ttft", "itl", "tpot", "e2e", "longest_stall")
_MOST_VALUES, _MOST_LABELS = 12, 4  # of a label, and labels: each combination is measured on its own
_QUANTILES = (0.5, 0.95)
_KINDS = {"user": "User class", "network": "Network", "label.phase": "Phase"}  # all else is a label


_ByTtft = tuple[NDArray[np.int32], NDArray[np.int16], Floats]  # the combination, the bin and the TTFT of each stream


@dataclass(frozen=True)
class Facet:
    kind: str  # for a person: `User class`, `Label tier`
    value: str
    name: str  # the value; of a network with the very same streams as a user class, that class, too
    is_told: bool  # by a network with the very same streams
    totals: Totals
    metrics: dict[str, Summary]  # all of SHOWN_OF_PARTS
    ttft: Series  # over time, by the due time


class Collector:
    """Remembers the TTFT of every stream, and what it belongs to. Its memory: 14 bytes a stream."""

    def __init__(self, width: float, bins: int) -> None:
        """`width` of a bin in ns."""
        self._labels: list[str] = []  # the names of those by which a reader may choose
        self._width, self._bins = width, bins
        self._codes: dict[tuple[str, ...], int] = {}  # of each combination of texts that occurred
        self._code: list[NDArray[np.int32]] = []
        self._bin: list[NDArray[np.int16]] = []
        self._ttft: list[Floats] = []

    def choose(self, streams: Streams) -> list[str]:
        """The names of the labels by which a reader may choose, judged by its first streams. Call it before `take`."""
        self._labels = _few_valued(streams)
        return self._labels

    def take(self, streams: Streams) -> None:
        ttft = (streams.number["first_content_at"] - streams.number["due_at"]) / 1e6
        known = np.flatnonzero(~np.isnan(ttft) & streams.timed)
        labels = streams.text["labels"].mapped(lambda text: _only(text, self._labels))
        found, place = combinations([streams.text["user"], streams.text["network"], labels])
        code = [self._codes.setdefault(each, len(self._codes)) for each in found]
        self._code.append(np.array(code, np.int32)[place][known])
        due = np.clip(streams.number["due_at"][known] / self._width, 0, self._bins - 1)
        self._bin.append(due.astype(np.int16))
        self._ttft.append(ttft[known])

    def facets(self, judgement: Judgement) -> list[Facet]:
        """Only of keys with more than one value: a single one is all streams. The most frequent first within a key."""
        measurements = judgement.measurements
        keys = ["user", "network", *(f"label.{name}" for name in self._labels)]
        ready = {(part.key, part.value): part for part in judgement.parts}
        found = [
            (key, value, _where(key, value), totals)
            for key in keys
            if len(values := measurements.values(key)) > 1
            for value in values
            if (totals := measurements.totals(_where(key, value))).streams
        ]
        kept = sorted(found, key=lambda each: -each[3].streams)[:MOST]
        by_ttft = self._by_ttft()
        facets = []
        for key, value, where, totals in sorted(kept, key=lambda each: keys.index(each[0])):
            part = ready.get((key.removeprefix("label."), value))
            known = part.metrics if part else {}
            name, is_told = (part.name, part.is_told) if part else (value, False)
            missing = [name for name in SHOWN_OF_PARTS if name not in known]
            metrics = {name: summary(measurements.distribution(name, where)) for name in missing}
            kind = _KINDS.get(key, f"Label {key.removeprefix('label.')}")
            course = self._course(where, by_ttft)
            facets.append(Facet(kind, value, name, is_told, totals, {**known, **metrics}, course))
        return facets

    def _by_ttft(self) -> _ByTtft:
        """In the order of TTFT."""
        ttft = np.concatenate([np.zeros(0), *self._ttft])
        order = np.argsort(ttft)
        code = np.concatenate([np.zeros(0, np.int32), *self._code])
        place = np.concatenate([np.zeros(0, np.int16), *self._bin])
        return code[order], place[order], ttft[order]

    def _course(self, where: Where, by_ttft: _ByTtft) -> Series:
        code, place, ttft = by_ttft
        chosen = np.fromiter(self._chosen(where), bool, len(self._codes))
        mine = np.flatnonzero(chosen[code]) if len(self._codes) else np.zeros(0, np.int64)
        order = mine[np.argsort(place[mine], kind="stable")]  # by bin, and in each by TTFT
        n = np.bincount(place[order], minlength=self._bins)
        starts = np.cumsum(n) - n
        p50, p95 = (
            [
                float(ttft[order[start + max(0, int(np.ceil(q * count - 1e-9)) - 1)]]) if count else None
                for start, count in zip(starts.tolist(), n.tolist(), strict=True)
            ]
            for q in _QUANTILES
        )
        return Series(n.tolist(), p50, p95)

    def _chosen(self, where: Where) -> Iterator[bool]:
        for user, network, labels in self._codes:
            yield matches(where, {"user": user, "network": network, "labels": labels})


def _few_valued(streams: Streams) -> list[str]:
    """The names of labels with few values: a request's id is none."""
    values: dict[str, set[str]] = {}
    for text in streams.text["labels"].values:
        for name, value in json.loads(text).items():
            values.setdefault(name, set()).add(value)
    return sorted(name for name, seen in values.items() if len(seen) <= _MOST_VALUES)[:_MOST_LABELS]


def _only(text: str, labels: Sequence[str]) -> str:
    every = json.loads(text) if labels else {}
    return json.dumps({name: every[name] for name in labels if name in every})


def _where(key: str, value: str) -> Where:
    if key.startswith("label."):
        return Where(label={key.removeprefix("label."): value})
    return msgspec.convert({key: value}, Where)
