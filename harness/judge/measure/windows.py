"""A run in slices of time, for rules with `for`: a window is SLICES consecutive slices. Pure.

A stream belongs to the slice in which it was due, even if it received everything later.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.store import Streams

SLICES = 5  # windows start one slice apart, so a fault that lasts 1.2 times a window's length fills a whole window


class Window(NamedTuple):
    start: float  # s since the run began
    whole: Measurements
    slices: list[Measurements]


class Windows:
    """Takes a run's streams batch by batch, as `Measurements` does, for all rules about windows of one length.

    `begins`: s from the run's beginning to the end of its warm-up. Windows begin there, and `until` counts from there.
    """

    def __init__(
        self, length_ns: int, labels: Iterable[str], reader: Reader, metrics: Collection[str], begins: float = 0.0
    ) -> None:
        self.seconds = length_ns / 1e9
        self._begins = begins
        self._labels = list(labels)
        self._reader = reader
        self._metrics = metrics
        self._slices: dict[int, Measurements] = {}
        # Windows with a stream that are not settled, each by its first slice. Others are never listed: a long run can
        # have millions of them, and rules with `abort` ask each second.
        self._open: set[int] = set()

    def take(self, streams: Streams) -> None:
        due = streams.number["due_at"] - self._begins * 1e9
        place = (due * SLICES // (self.seconds * 1e9)).astype(np.int64)
        for one in np.unique(place).tolist():
            mine = self._slices.setdefault(one, self._measurements())
            mine.take(streams.select(np.flatnonzero(place == one)))
            self._open.update(range(max(0, one - SLICES + 1), one + 1))

    def until(self, seconds: float) -> Iterator[Window]:
        """The windows in which a stream was due and that had ended after this many seconds, without the settled ones.

        In order of time.
        """
        step, empty = self.seconds / SLICES, self._measurements()
        for first in sorted(self._ended(seconds)):
            slices = [self._slices.get(place, empty) for place in range(first, first + SLICES)]
            yield Window(self._begins + first * step, Measurements.joined(slices), slices)

    def settle(self, seconds: float) -> None:
        """From now on leave out the windows that had ended by then, until a stream is added that was due in one."""
        self._open -= self._ended(seconds)

    def _ended(self, seconds: float) -> set[int]:
        """The open windows that had ended by then."""
        first_unfinished = int(seconds * SLICES / self.seconds + 1e-9) - SLICES + 1
        return {first for first in self._open if first < first_unfinished}

    def _measurements(self) -> Measurements:
        return Measurements(self._labels, self._reader, self._metrics)
