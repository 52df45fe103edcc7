"""Collects one process's finished streams and, once a second, its vitals, and delivers both in batches.

`Recorder` calls `deliver` with each batch, from a greenlet of its own; it uses neither a database nor a network.
"""

import fcntl
import gc
import inspect
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import gevent
from gevent.event import Event

from streamgauge.harness.drive.cpu import Cpu
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import LACK_OF_CORES, Vital, VitalSample

_BATCH_EVERY = 0.5  # seconds; a process that dies loses the streams of this time, and those under way
_PROBE_EVERY = 0.02  # seconds between two measurements of how late the loop's timers fire
_STOP = 0.05  # seconds; a timer that is later was delayed by a stop of the loop
_SHORTEST = 0.2  # seconds; in less, the kernel's hundredths of a second do not tell how much CPU others used
_MOST_STREAMS = 500  # in a batch
_MOST_BYTES = 524_288  # in a batch, approximately; a larger stream makes a batch of its own
_ROW = 700  # approximate bytes of an encoded stream without its arrivals
# In between, the garbage collector is off: with a thousand streams, each collection stops the process for 10 to 30 ms,
# because it visits every live object. Our code makes no reference cycles; those of a scenario's code can wait.
_COLLECT_EVERY = 60.0  # seconds

_MOST_DESCRIPTORS = 16_384  # for which the kernel makes room at the beginning, 8 bytes each

_log = logging.getLogger("locust.streamgauge")

Deliver = Callable[[list[StreamObservation], list[VitalSample]], None]


class Recorder:
    def __init__(self, clock: RunClock, vitals: Mapping[Vital, Callable[[], float]], deliver: Deliver) -> None:
        """`vitals`: functions that return the values of further vitals, sampled with those of the process."""
        self._clock = clock
        self._vitals = vitals
        self._deliver = deliver
        self._streams: list[StreamObservation] = []
        self._samples: list[VitalSample] = []
        self._cpu = Cpu()
        self._faults = 0  # exceptions in this class's own work
        self._probe = LoopProbe()
        self._collected_at = time.monotonic()
        self._greenlet = gevent.Greenlet(self._run)
        self._room = Event()
        self._room.set()
        self._held = 0  # users that wait in `record`

    def record(self, seen: StreamObservation) -> None:
        """Keep a finished stream. After `hold`, this call blocks, so that its user begins no new stream."""
        self._streams.append(seen)
        if not self._room.is_set():
            self._held += 1
            try:
                self._room.wait()
            finally:
                self._held -= 1

    def record_at_once(self, seen: StreamObservation) -> None:
        """Keep a finished stream and deliver it now, not with the next batch: a process that is killed loses less."""
        self.record(seen)
        self._flush()

    def hold(self) -> None:
        """Make `record` block from now on."""
        self._room.clear()

    def release(self) -> None:
        """End the effect of `hold`."""
        self._room.set()

    def start(self) -> None:
        """Start sampling and delivering. The garbage collector ignores all objects that exist now."""
        inspect.stack()  # the first call reads every module's source; Locust would make it in the middle of the run
        gc.collect()
        gc.freeze()
        gc.disable()
        make_room_for_descriptors()
        self._cpu.percent()
        self._probe.start()
        self._greenlet.start()

    def stop(self) -> None:
        """Deliver the last batch, with a last sample of the vitals that `__init__` was given. Releases held users."""
        self._room.set()
        if self._greenlet:
            self._greenlet.kill()
            self._probe.stop()
            at = self._clock.now()
            self._samples += self._measured(at)
            if self._cpu.seconds() >= _SHORTEST:  # who had the core while the loop stood still at the end
                lack = {vital: value for vital, value in self._cpu.percent().items() if vital in LACK_OF_CORES}
                self._samples += _samples(at, lack)
            gc.enable()
            gc.unfreeze()
        self._flush()

    def _run(self) -> None:
        self._samples += self._measured(self._clock.now())  # from here on, each sample is of the time since the last
        batches = 0
        while True:
            gevent.sleep(_BATCH_EVERY)
            batches += 1
            try:
                if batches % 2 == 0:
                    self._sample()
                self._flush()
            except Exception:  # noqa: BLE001 - whatever it is, the record must go on, and say so
                self._faults += 1
                _log.exception("a part of the record is missing")

    def _sample(self) -> None:
        own = self._cpu.percent()
        if self._held:
            own[Vital.HELD_STREAMS] = self._held
        if time.monotonic() - self._collected_at > _COLLECT_EVERY:
            began = self._collected_at = time.monotonic()
            gc.collect()
            own[Vital.GC_PAUSE] = (time.monotonic() - began) * 1e3
        at = self._clock.now()
        self._samples += [*self._measured(at), *_samples(at, own)]

    def _measured(self, at: int) -> list[VitalSample]:
        """What every sample has, the first and the last one too."""
        lag, stopped = self._probe.take()
        own = {
            Vital.LOOP_LAG: lag * 1e3,
            Vital.LOOP_STOPPED: stopped * 1e3,
            Vital.CLOCK_DRIFT: self._clock.drift(),
            Vital.OWN_FAULTS: self._faults,
        }
        return _samples(at, {vital: value() for vital, value in self._vitals.items()} | own)

    def _flush(self) -> None:
        while self._streams or self._samples:
            end = _fitting(self._streams)
            streams, self._streams = self._streams[:end], self._streams[end:]
            samples, self._samples = self._samples, []
            self._deliver(streams, samples)


def make_room_for_descriptors() -> None:
    """Let the kernel enlarge this process's table of open files now, and not when the run opens its sockets.

    The table doubles when it is full. In a process with several threads, the call that opens the next socket then waits
    for the other cores (`synchronize_rcu`): at the 256th and the 512th descriptor, the loop stood still for 6 to 18 ms,
    which was in the TTFT of all who began meanwhile. The table never shrinks.
    """
    limit = os.sysconf("SC_OPEN_MAX")
    last = (min(limit, _MOST_DESCRIPTORS) if limit > 0 else _MOST_DESCRIPTORS) - 1
    with suppress(OSError):  # no free descriptor: then there will be no socket either
        first = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.close(fcntl.fcntl(first, fcntl.F_DUPFD_CLOEXEC, last))
        finally:
            os.close(first)


class LoopProbe:
    """Measures how late the loop's timers fire, whatever delays them: our own code, a scenario's, or the collector."""

    def __init__(self) -> None:
        self._due_at = 0.0  # monotonic: when the timer should fire
        self._lag = 0.0  # seconds, the largest since the last `take`
        self._stopped = 0.0  # seconds, the sum of those that were stops
        self._greenlet = gevent.Greenlet(self._run)

    def start(self) -> None:
        self._due_at = time.monotonic() + _PROBE_EVERY
        self._greenlet.start()

    def stop(self) -> None:
        """End the measurement. A stop that has just ended counts, though its timer has not fired yet."""
        self._greenlet.kill()
        self._fired()

    def take(self) -> tuple[float, float]:
        """The largest lag since the last call, and for how long the loop stopped in total; seconds."""
        taken, self._lag, self._stopped = (self._lag, self._stopped), 0.0, 0.0
        return taken

    def _run(self) -> None:
        while True:
            self._due_at = time.monotonic() + _PROBE_EVERY
            gevent.sleep(_PROBE_EVERY)
            self._fired()

    def _fired(self) -> None:
        lag = time.monotonic() - self._due_at
        self._lag = max(self._lag, lag)
        if lag >= _STOP:
            self._stopped += lag


def _samples(at: int, values: Mapping[Vital, float]) -> list[VitalSample]:
    return [VitalSample(at, vital, float(value)) for vital, value in values.items()]


def _fitting(streams: Sequence[StreamObservation]) -> int:
    """How many of the first streams fit into one batch."""
    size = 0
    for place, seen in enumerate(streams[:_MOST_STREAMS]):
        size += _ROW + len(seen.arrivals)
        if place and size > _MOST_BYTES:
            return place
    return _MOST_STREAMS
