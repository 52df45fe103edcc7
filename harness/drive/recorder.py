"""What one process sees of a run: finished streams and, once a second, its own health. Hands both on in batches.

Knows neither database nor master: `Recorder` calls `deliver` with each batch, from a greenlet of its own; `Outbox`
keeps what is on its way to another process until that has said that it is stored.
"""

import gc
import inspect
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import gevent
import psutil
from gevent.event import Event

from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import Vital, VitalSample

_BEAT = 0.5  # seconds between batches: a process that dies loses no more than this and what is under way
_PROBE = 0.05  # seconds between two looks at how late the loop's timers are: a longer stop of it cannot hide
_LARGEST = 500  # streams in a batch
_HEAVIEST = 524_288  # bytes in a batch, about; a single stream that is heavier makes a batch by itself
_ROW = 700  # bytes of a packed stream beside its arrivals, about
_WINDOW = 8  # batches sent and not yet acknowledged: what a lost connection makes us send again
_PATIENCE = 2.0  # seconds without a word of the oldest one before they are sent again
_ROOM = 32 * 2**20  # bytes not yet acknowledged, before new streams are held back: some 30,000 streams
# The collector is off in between. At a thousand streams it stands still for 10 to 30 ms, however seldom it looks, as it
# looks at all that lives. We make no cycles; those of a scenario's own code may wait for a minute.
_COLLECT_EVERY = 60.0  # seconds


class Batch(NamedTuple):
    streams: list[StreamObservation]
    vitals: list[VitalSample]


class Recorder:
    def __init__(
        self, clock: RunClock, gauges: dict[Vital, Callable[[], float]], deliver: Callable[[Batch], None]
    ) -> None:
        """`gauges` are read once a second beside the process's own; each is a name and how to get its value."""
        self._clock = clock
        self._gauges = gauges
        self._deliver = deliver
        self._streams: list[StreamObservation] = []
        self._vitals: list[VitalSample] = []
        self._process = psutil.Process()
        self._loop_lag = 0.0
        self._collected_at = time.monotonic()
        self._greenlet: gevent.Greenlet | None = None
        self._room = Event()
        self._room.set()
        self._held = 0

    def record(self, seen: StreamObservation) -> None:
        """Keep a finished stream. While there is no room for more, whoever asked waits here, and asks nothing new."""
        self._streams.append(seen)
        if not self._room.is_set():
            self._held += 1
            try:
                self._room.wait()
            finally:
                self._held -= 1

    def hold(self, full: bool) -> None:
        """Let those who record wait, or let them go on."""
        if full:
            self._room.clear()
        else:
            self._room.set()

    def start(self) -> None:
        """Begin to sample and to deliver. What exists now is put out of the collector's sight."""
        inspect.stack()  # Locust asks for it when it stops the users: the first time it looks at every module there is
        gc.collect()
        gc.freeze()
        gc.disable()
        self._process.cpu_percent()  # the first call only sets the mark
        self._greenlet = gevent.spawn(self._beat)

    def stop(self) -> None:
        """Deliver what is left, and hold nobody back any more."""
        self._room.set()
        if self._greenlet is not None:
            self._greenlet.kill()
            self._greenlet = None
            self._vitals += self._gauged(self._clock.now())  # what they came to
            gc.enable()
            gc.unfreeze()
        self._flush()

    def _beat(self) -> None:
        beats = 0
        while True:
            beat_at = time.monotonic() + _BEAT
            while (slept_at := time.monotonic()) < beat_at:
                gevent.sleep(_PROBE)
                self._loop_lag = max(self._loop_lag, time.monotonic() - slept_at - _PROBE)
            beats += 1
            if beats % 2 == 0:
                self._sample()
            self._flush()

    def _sample(self) -> None:
        at = self._clock.now()
        values = {
            Vital.CPU_PERCENT: self._process.cpu_percent(),
            Vital.LOOP_LAG: self._loop_lag * 1e3,
            Vital.CLOCK_DRIFT: self._clock.drift(),
        }
        if self._held:
            values[Vital.HELD_STREAMS] = self._held
        self._loop_lag = 0.0
        if time.monotonic() - self._collected_at > _COLLECT_EVERY:
            began = self._collected_at = time.monotonic()
            gc.collect()
            values[Vital.GC_PAUSE] = (time.monotonic() - began) * 1e3
        self._vitals += [*self._gauged(at), *(VitalSample(at, name, float(value)) for name, value in values.items())]

    def _gauged(self, at: int) -> list[VitalSample]:
        return [VitalSample(at, name, float(read())) for name, read in self._gauges.items()]

    def _flush(self) -> None:
        while self._streams or self._vitals:
            end = _fitting(self._streams)
            streams, self._streams = self._streams[:end], self._streams[end:]
            vitals, self._vitals = self._vitals, []
            self._deliver(Batch(streams, vitals))


def _fitting(streams: Sequence[StreamObservation]) -> int:
    """How many of these, from the first on, make a batch."""
    weight = 0
    for place, seen in enumerate(streams[:_LARGEST]):
        weight += _ROW + len(seen.arrivals)
        if place and weight > _HEAVIEST:
            return place
    return _LARGEST


class Outbox:
    """Packed batches on their way, in order: numbered from 1, a few under way at a time, kept until they are stored.

    What was not acknowledged in time is sent again, since a connection can lose what it took; the numbers let the
    other side drop what it has. The caller sends, and says what time it is (seconds, monotonic).
    """

    def __init__(self, send: Callable[[int, bytes], None], room: int = _ROOM) -> None:
        """`send` gets a batch's number and its bytes, and may lose them."""
        self._send = send
        self._room = room
        self._kept: deque[bytes] = deque()
        self._first = 1  # number of the oldest one kept
        self._under_way = 0  # of those kept, from the oldest on
        self._heard_at = 0.0
        self._size = 0

    def __len__(self) -> int:
        """Batches that are not known to be stored."""
        return len(self._kept)

    @property
    def full(self) -> bool:
        """Nothing is refused then; but it is time to make no more."""
        return self._size > self._room

    def put(self, batch: bytes, now: float) -> None:
        self._kept.append(batch)
        self._size += len(batch)
        self.push(now)

    def stored(self, upto: int, now: float) -> None:
        """All up to this number are safe. Said twice, or late, it does no harm."""
        while self._kept and self._first <= upto:
            self._size -= len(self._kept.popleft())
            self._first += 1
            self._under_way = max(0, self._under_way - 1)
            self._heard_at = now
        self.push(now)

    def push(self, now: float) -> None:
        """Send what may be under way; and again all that is, when nothing was heard of it for too long."""
        if now - self._heard_at > _PATIENCE:
            self._under_way = 0
        while self._under_way < min(_WINDOW, len(self._kept)):
            if self._under_way == 0:
                self._heard_at = now
            batch = self._kept[self._under_way]
            self._under_way += 1  # before it is sent: `send` may switch, and a word come back meanwhile
            self._send(self._first + self._under_way - 1, batch)
