"""What one process sees of a run: finished streams and, once a second, its own health. Hands both on in batches.

Knows neither database nor master: `deliver` is called with each batch, from a greenlet of its own.
"""

import gc
import time
from collections.abc import Callable
from typing import NamedTuple

import gevent
import psutil

from harness.clock import RunClock
from harness.observation import StreamObservation

_BEAT = 0.5  # seconds between batches: a process that dies loses no more than this and what is under way
_LARGEST = 500  # streams in a batch
_COLLECT_EVERY = 10.0  # seconds; the collector is off in between: its pauses are the largest disturbance there is


class Reading(NamedTuple):
    """One sample of the process: users, active streams, cpu, loop_lag, gc_pause."""

    at: int  # ns on the run's clock
    name: str
    value: float


class Batch(NamedTuple):
    streams: list[StreamObservation]
    readings: list[Reading]


class Recorder:
    def __init__(
        self, clock: RunClock, gauges: dict[str, Callable[[], float]], deliver: Callable[[Batch], None]
    ) -> None:
        """`gauges` are read once a second beside the process's own; each is a name and how to get its value."""
        self._clock = clock
        self._gauges = gauges
        self._deliver = deliver
        self._streams: list[StreamObservation] = []
        self._readings: list[Reading] = []
        self._process = psutil.Process()
        self._loop_lag = 0.0
        self._collected_at = time.monotonic()
        self._greenlet: gevent.Greenlet | None = None

    def record(self, seen: StreamObservation) -> None:
        self._streams.append(seen)

    def start(self) -> None:
        """Begin to sample and to deliver. What exists now is put out of the collector's sight."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self._process.cpu_percent()  # the first call only sets the mark
        self._greenlet = gevent.spawn(self._beat)

    def stop(self) -> None:
        """Deliver what is left."""
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
            gc.enable()
            gc.unfreeze()
        self._flush()

    def _beat(self) -> None:
        beats = 0
        while True:
            slept_at = time.monotonic()
            gevent.sleep(_BEAT)
            self._loop_lag = max(self._loop_lag, time.monotonic() - slept_at - _BEAT)
            beats += 1
            if beats % 2 == 0:
                self._sample()
            self._flush()

    def _sample(self) -> None:
        at = self._clock.now()
        values = {name: read() for name, read in self._gauges.items()}
        values |= {"cpu_percent": self._process.cpu_percent(), "loop_lag_ms": self._loop_lag * 1e3}
        self._loop_lag = 0.0
        if time.monotonic() - self._collected_at > _COLLECT_EVERY:
            began = self._collected_at = time.monotonic()
            gc.collect(1)
            values["gc_pause_ms"] = (time.monotonic() - began) * 1e3
        self._readings += [Reading(at, name, float(value)) for name, value in values.items()]

    def _flush(self) -> None:
        while self._streams or self._readings:
            streams, self._streams = self._streams[:_LARGEST], self._streams[_LARGEST:]
            readings, self._readings = self._readings, []
            self._deliver(Batch(streams, readings))
