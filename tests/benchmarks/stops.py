"""Whose fault a stop of a process was: its own, or that of a machine that ran something else meanwhile.

`python -m tests.benchmarks.stops PID` prints a `Sample` of that process fifty times a second, until it ends. Only the
kernel knows the difference: a thread that is ready to run and waits for a core is late without any fault of its own.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

STOP_MS = 50.0
_EVERY = 0.02  # seconds between two samples
_SAMPLED = 1.0  # seconds; a run samples its own lag once in that time, so a stop ended at most so long before
_SLACK = 2 * _EVERY  # seconds; a stop may begin and end between two samples


class Sample(NamedTuple):
    """What happened since the sample before it. Times in milliseconds."""

    at: float  # CLOCK_REALTIME, seconds
    late: float  # how late the sampling process itself was, which does nothing but sleep
    ran: float  # of the main thread, on a core
    waited: float  # of all threads, ready to run, and in the queue for a core
    stolen: float  # from a core, by the machine's host; of the core that lost most
    faults: int  # pages that the disk had to bring


class Stop(NamedTuple):
    """A stop of the event loop, and the worst moment as long as the stop in the second before it was told."""

    at: float  # CLOCK_REALTIME, seconds
    ms: float
    ran: float
    waited: float
    stolen: float
    late: float
    faults: int

    @property
    def own_ms(self) -> float:
        """The part that the machine does not explain."""
        return max(0.0, self.ms - max(self.waited + self.stolen, self.late))

    @property
    def own(self) -> bool:
        return self.own_ms >= STOP_MS

    def __str__(self) -> str:
        whose = "its own" if self.own else "a busy machine's"
        return (
            f"{time.strftime('%H:%M:%S', time.localtime(self.at))}  {self.ms:.0f} ms, {whose}: it ran for "
            f"{self.ran:.0f} ms, queued for a core for {self.waited:.0f} ms, lost {self.stolen:.0f} ms to the host; "
            f"a process that only sleeps was {self.late:.0f} ms late; {self.faults} pages came from disk"
        )


def explained(at: float, ms: float, samples: Sequence[Sample]) -> Stop:
    """The stop of `ms` that a process told at `at`, with what the samples say about the time before it."""
    near = [sample for sample in samples if at - _SAMPLED - ms / 1e3 - _SLACK <= sample.at <= at + _SLACK]
    longest = ms / 1e3 + _SLACK
    windows = [
        [other for other in near[place:] if other.at - first.at <= longest] for place, first in enumerate(near)
    ] or [[]]
    worst = max(windows, key=lambda window: sum(each.waited + each.stolen for each in window))
    ran, waited, stolen, faults = (
        float(sum(getattr(each, name) for each in worst)) for name in ("ran", "waited", "stolen", "faults")
    )
    # A sample that was late covers more than the moment that made it late.
    late = max((sample.late for sample in near), default=0.0)
    return Stop(at, ms, min(ran, ms), min(waited, ms), min(stolen, ms), late, int(faults))


def read(file: Path) -> list[Sample]:
    """The samples of a file; a last line that is not whole is left out."""
    whole = [line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [msgspec.json.decode(line, type=Sample) for line in whole]


class _Counters(NamedTuple):
    """What the kernel has counted so far. Times in milliseconds."""

    ran: float
    waited: float
    stolen: "np.ndarray[tuple[int], np.dtype[np.float64]]"  # of each core
    faults: int


def _counters(process: Path) -> _Counters:
    threads = [thread.read_text().split() for thread in process.glob("task/*/schedstat")]
    cores = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")][1:]
    after_name = (process / "stat").read_text().rpartition(")")[2].split()
    return _Counters(
        ran=int((process / "schedstat").read_text().split()[0]) / 1e6,
        waited=sum(int(waited) for _, waited, _ in threads) / 1e6,
        stolen=np.array([int(core[8]) * 10.0 for core in cores]),  # in hundredths of a second
        faults=int(after_name[9]),
    )


def _watch(process: Path) -> None:
    before, due = _counters(process), time.monotonic() + _EVERY
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        late = (time.monotonic() - due) * 1e3
        try:
            now = _counters(process)
        except OSError:  # it has ended, or a thread of it just now
            if not process.exists():
                return
            continue
        sample = Sample(
            at=time.time(),
            late=max(0.0, late),
            ran=now.ran - before.ran,
            waited=max(0.0, now.waited - before.waited),  # a thread that ended takes its time with it
            stolen=float((now.stolen - before.stolen).max()),
            faults=now.faults - before.faults,
        )
        sys.stdout.buffer.write(msgspec.json.encode(sample) + b"\n")
        sys.stdout.flush()
        before, due = now, time.monotonic() + _EVERY


if __name__ == "__main__":
    _watch(Path("/proc", sys.argv[1]))
