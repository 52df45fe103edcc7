"""The server's own counters over time beside what clients received, for the panel on abandoned streams.

There is one point per sample, or one for several consecutive samples if there are more than a chart can show.
"""

from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.measure import server_counters
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.store import Store, Streams
from streamgauge.harness.record.observation import DISCONNECTED
from streamgauge.harness.record.vitals import Vital

MOST_POINTS = 300
_FINEST, _MOST_BINS = 0.1, 20_000  # seconds per bin at least, bins at most: chunks are counted in bins, not sorted


@dataclass(frozen=True)
class Counters:
    """One entry per point: the state at that time, or what happened since the previous point. Times are seconds."""

    at: list[float]
    active: list[float | None]  # largest number of answers in generation since the previous point; None: not reported
    open: list[int]  # streams that were open at the client
    # per second: streams whose connection ended while the server may still have been generating
    disconnected: list[float]
    generated: list[float] | None  # tokens per second; None: not reported
    chunks: list[float]  # content chunks received per second
    ended: float  # when the last stream ended


class CounterCollector:
    """Collects `Counters` from a run's streams, batch by batch."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._active, self._generated = (
            store.vital(run_id, vital) for vital in (Vital.SERVER_ACTIVE, Vital.SERVER_GENERATED)
        )
        at = max(self._active.at, self._generated.at, key=len)
        step = -(-len(at) // MOST_POINTS) or 1
        self._at = at[::-step][::-1]  # always including the last sample
        self._open, self._disconnected = np.zeros(len(self._at), np.int64), np.zeros(len(self._at), np.int64)
        seconds = float(self._at[-1]) / 1e9 if len(self._at) else 0.0
        self._width = max(_FINEST, seconds / _MOST_BINS)
        self._chunks = np.zeros(int(max(seconds, 0.0) / self._width) + 2, np.int64)
        self._ended = 0.0

    def take(self, streams: Streams) -> None:
        if not len(self._at):
            return
        ended = streams.number["ended_at"]
        started = streams.number["started_at"]
        began: Floats = np.where(np.isnan(started), ended, started).astype(np.float64)
        self._open += _upto(began, self._at) - _upto(ended, self._at)
        self._disconnected += _upto(ended[streams.ended_as(DISCONNECTED)], self._at)
        place = np.clip(streams.events.at / (self._width * 1e6), 0, len(self._chunks) - 1).astype(np.int64)
        self._chunks += np.bincount(place, minlength=len(self._chunks))
        self._ended = max(self._ended, float(ended.max(initial=0.0)))

    def counters(self) -> Counters | None:
        if len(self._at) < 2:
            return None
        return Counters(
            at=(self._at / 1e9).tolist(),
            active=self._active_maxima(),
            open=self._open.tolist(),
            disconnected=self._rate(self._disconnected),
            generated=self._rate(self._generated_so_far()) if len(self._generated.at) > 1 else None,
            chunks=self._rate(self._received()),
            ended=self._ended / 1e9,
        )

    def _active_maxima(self) -> list[float | None]:
        most = np.full(len(self._at), -np.inf)
        np.maximum.at(most, np.searchsorted(self._at, self._active.at), self._active.value)
        return [None if value == -np.inf else value for value in most.tolist()]

    def _generated_so_far(self) -> Floats:
        return np.asarray(np.interp(self._at, self._generated.at, server_counters.growth(self._generated)))

    def _received(self) -> Floats:
        ends = self._width * 1e9 * np.arange(len(self._chunks) + 1)
        return np.asarray(np.interp(self._at, ends, np.concatenate([[0], np.cumsum(self._chunks)])))

    def _rate(self, sums: Integers | Floats) -> list[float]:
        """Rate per second since the previous point; 0 for the first one."""
        return [0.0, *(np.diff(sums) / (np.diff(self._at) / 1e9)).tolist()]


def _upto(moments: Floats, at: Floats) -> Integers:
    """How many moments are at or before each time."""
    counts, _ = np.histogram(moments, [-np.inf, *at])
    return np.cumsum(counts)
