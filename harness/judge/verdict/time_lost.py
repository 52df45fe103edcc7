"""How much of its time a process lost, by its vitals. Pure.

By time and not by the number of samples: one stop of nine seconds is a single sample.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.store import VitalSeries
from streamgauge.harness.record.vitals import Vital

STOP_MS = 50.0  # a timer that is later was delayed by a stop of the loop
# The vitals that are read here, or by `counted`.
EVIDENCE = (
    Vital.LOOP_STOPPED, Vital.LOOP_LAG, Vital.GC_PAUSE, Vital.CPU_PERCENT, Vital.PYTHON_PERCENT,
    Vital.READER_PERCENT, Vital.STARVED_STREAMS, Vital.OWN_FAULTS,
    Vital.CONNECT_LAG, Vital.LATE_CONNECTIONS,
)  # fmt: skip
_EVERY = 1.0  # seconds between two samples


class Lost(NamedTuple):
    worker: str
    seconds: float
    of: float  # seconds that the process was observed

    @property
    def share(self) -> float:
        return self.seconds / self.of


def stopped(vitals: Mapping[Vital, VitalSeries]) -> Iterator[Lost]:
    """For each process, how long its event loop stood still for 50 ms or more at a time.

    Older versions recorded only the longest lag of each second, and garbage collections apart from it: a lower bound.
    """
    now = vitals[Vital.LOOP_STOPPED]
    workers = set(now.worker)
    for worker in sorted(workers):
        at, values = of_process(now, worker)
        yield Lost(worker, float(values.sum()) / 1e3, float(covered(at).sum()))
    lags, pauses = vitals[Vital.LOOP_LAG], vitals[Vital.GC_PAUSE]
    for worker in sorted(set(lags.worker) - workers):
        at, values = of_process(lags, worker)
        _, collected = of_process(pauses, worker)
        lost = sum(float(each[each >= STOP_MS].sum()) for each in (values, collected))
        yield Lost(worker, lost / 1e3, float(covered(at).sum()))


def beyond(samples: VitalSeries, limit: float) -> Iterator[Lost]:
    """For each process, how long a vital was at `limit` or above. A sample stands for the time since the last one."""
    for worker in sorted(set(samples.worker)):
        at, values = of_process(samples, worker)
        seconds = covered(at)
        yield Lost(worker, float(seconds[values >= limit].sum()), float(seconds.sum()))


def unseen(samples: VitalSeries, limit: float) -> Iterator[Lost]:
    """For each process, the time without samples that no stop explains, if it was `limit` seconds or more at once."""
    for worker in sorted(set(samples.worker)):
        at, stopped_ms = of_process(samples, worker)
        gaps = np.diff(at) - stopped_ms[1:] / 1e3
        if (gaps >= limit).any():
            yield Lost(worker, float(gaps[gaps >= limit].sum()), float(covered(at).sum()))


def counted(samples: VitalSeries, since: float = 0.0) -> dict[str, int]:
    """How far a counter has risen after `since` (ns on the run's clock), by process; without those that stood."""
    last: dict[str, float] = {}
    before: dict[str, float] = {}
    for worker, at, value in zip(samples.worker, samples.at, samples.value, strict=True):
        last[worker] = value
        if at < since:
            before[worker] = value
    risen = {worker: int(value - before.get(worker, 0.0)) for worker, value in last.items()}
    return {worker: rise for worker, rise in risen.items() if rise}


def of_process(samples: VitalSeries, worker: str) -> tuple[Floats, Floats]:
    """The times (s) and values of one process's samples."""
    mine = np.array(samples.worker, object) == worker
    return samples.at[mine] / 1e9, samples.value[mine]


def covered(at: Floats) -> Floats:
    """The time that each sample stands for, s; in total at least that between two samples."""
    seconds = np.diff(at, prepend=max(0.0, at[0] - _EVERY))
    seconds[-1] += max(0.0, _EVERY - seconds.sum())
    return seconds
