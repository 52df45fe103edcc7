"""How much CPU this process had since it last asked, and who else wanted the same cores.

The second half comes from Linux's /proc and the control group. What the system does not tell is absent.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from streamgauge.harness import cores
from streamgauge.harness.record.vitals import Vital

_MOST_THREADS = 64  # whose waits are read; a process of ours has a handful
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100  # per second, in /proc/stat
_USER, _NICE, _SYSTEM, _STEAL = 0, 1, 2, 7  # columns of /proc/stat
_OWN_USER, _OWN_SYSTEM = 11, 12  # columns of /proc/PID/stat after the name


class Cpu:
    """CPU use of this process, its threads' waits for a core, and the CPU use of everything else."""

    def __init__(self, root: Path = Path("/")) -> None:
        """`root`: the folder of /proc and /sys."""
        self._root = root
        self._all, self._own, self._at = time.process_time(), time.thread_time(), time.monotonic()
        self._threads = dict(_waits(self._root))
        self._others, self._stolen = _machine(self._root)
        self._periods, self._throttled = _group(self._root)

    def seconds(self) -> float:
        """How long ago the last call of `percent` was."""
        return time.monotonic() - self._at

    def percent(self) -> dict[Vital, float]:
        """The use since the last call, in % of one core; always call it in the event loop's thread."""
        every, own, at = time.process_time(), time.thread_time(), time.monotonic()
        seconds = max(at - self._at, 1e-6)
        percent = 100 / seconds
        python, whole = (own - self._own) * percent, (every - self._all) * percent
        used = every - self._all
        self._all, self._own, self._at = every, own, at
        return {
            Vital.CPU_PERCENT: whole,
            Vital.PYTHON_PERCENT: python,
            Vital.READER_PERCENT: max(0.0, whole - python),
            **self._waited(percent),
            **self._wanted_by_others(used, percent),
            **self._limited(),
        }

    def _waited(self, percent: float) -> dict[Vital, float]:
        before, self._threads = self._threads, dict(_waits(self._root))
        waited = [wait - before.get(thread, 0) for thread, wait in self._threads.items()]
        return {Vital.CPU_WAIT: max(waited) / 1e9 * percent} if waited else {}

    def _wanted_by_others(self, used: float, percent: float) -> dict[Vital, float]:
        before, stolen = self._others, self._stolen
        self._others, self._stolen = _machine(self._root)
        if before is None or stolen is None or self._others is None or self._stolen is None:
            return {}
        return {
            Vital.OTHERS_PERCENT: max(0.0, self._others - before - used) * percent,
            Vital.STEAL_PERCENT: max(0.0, self._stolen - stolen) * percent,
        }

    def _limited(self) -> dict[Vital, float]:
        before, throttled = self._periods, self._throttled
        self._periods, self._throttled = _group(self._root)
        passed = self._periods - before
        return {Vital.THROTTLED_PERCENT: 100 * (self._throttled - throttled) / passed} if passed > 0 else {}


def _waits(root: Path) -> Iterator[tuple[str, int]]:
    """How long each thread of this process has been ready to run without a core, in ns."""
    with suppress(OSError, ValueError, IndexError):  # no Linux, no such statistics, or no free descriptor
        for thread in islice((root / "proc/self/task").iterdir(), _MOST_THREADS):
            ran, waited, *_ = _read(thread / "schedstat").split() or ("0", "0")  # the thread may just have ended
            if int(ran):  # a kernel that does not count says 0
                yield thread.name, int(waited)


def _machine(root: Path) -> tuple[float | None, float | None]:
    """CPU time of all programs but our parent on the cores that we may use, and time stolen from these; in seconds.

    The parent is Locust's master or the command that began the run. Time of interrupts is left out: it is partly ours.
    """
    try:
        mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        rows = [line.split() for line in (root / "proc/stat").read_text().splitlines() if line.startswith("cpu")]
        found = [[int(ticks) for ticks in row[1:]] for row in rows if row[0] in mine]
        if len(found) < len(mine):  # a container may number its cores anew
            return None, None
        parent = (root / f"proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
        parents = int(parent[_OWN_USER]) + int(parent[_OWN_SYSTEM])
        programs = sum(row[_USER] + row[_NICE] + row[_SYSTEM] for row in found)
        return (programs - parents) / _TICKS, sum(row[_STEAL] for row in found) / _TICKS
    except (AttributeError, OSError, ValueError, IndexError):
        return None, None


def _group(root: Path) -> tuple[int, int]:
    """Periods of the control group's CPU limit, and those in which it stopped us; 0, 0 without a limit.

    Of several groups with a limit, one inside the other, it is the innermost.
    """
    with suppress(OSError, ValueError):
        for folder in cores.control_groups(root):
            told = dict(line.split()[:2] for line in _read(folder / "cpu.stat").splitlines() if line)
            if int(told.get("nr_periods", 0)):
                return int(told["nr_periods"]), int(told.get("nr_throttled", 0))
    return 0, 0


def _read(path: Path) -> str:
    """What the file says; nothing if it does not exist."""
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
        return ""
