"""Whether a process was late because its machine was busy with other work, and not with the process itself. Pure.

More processes would not help such a run. Only Linux tells for how long threads waited for a core.
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.store import Run, VitalSeries
from streamgauge.harness.judge.verdict.processes import cores, host_of, longest, named
from streamgauge.harness.judge.verdict.time_lost import Lost, covered, of_process
from streamgauge.harness.record.vitals import LACK_OF_CORES, Vital

EVIDENCE = LACK_OF_CORES
_WAITED = 5.0  # % of a second: below, a wait for a core is the scheduler's ordinary grain
_SHORT = 0.02  # of a process's time: as for stops of its event loop
_FULL = 90.0  # CPU of Python's thread, %: it had the core that it waits for
_THROTTLED = 2.0  # % of the periods of a CPU limit
_STOLEN = 0.05  # cores

Vitals = Mapping[Vital, VitalSeries]


class _Wait(NamedTuple):
    """What a process waited for a core, and the use of its cores by others at those times, in cores."""

    lost: Lost
    others: float
    stolen: float


def explained(run: Run, vitals: Vitals, late: Mapping[str, float] | None = None) -> str:
    """Why processes were late, and what helps, if it was not their own work; "" if it was.

    `late`: the processes, each with the seconds that it must have waited for that. None: any process, however long.
    """

    def is_enough(lost: Lost) -> bool:
        return late is None or (lost.worker in late and lost.seconds >= late[lost.worker])

    if limited := [lost for lost in _throttled(vitals) if is_enough(lost)]:
        worst = max(limited, key=lambda each: each.share)
        return (
            f"the CPU limit of its container stopped {named(run, [each.worker for each in limited])} "
            f"in {figure(worst.share, 'ratio')} of the periods (nr_throttled in cpu.stat); raise that limit"
        )
    waits = [wait for wait in _waits(run, vitals) if is_enough(wait.lost)]
    return _told(run, waits) if waits else ""


def remedy(run: Run, vitals: Vitals) -> str:
    """What helps processes that were late through no work of their own; "" if there are none."""
    if any(_throttled(vitals)):
        return "raise the CPU limit of its container"
    return _leave(run) if any(_waits(run, vitals)) else ""


def _leave(run: Run) -> str:
    of_server = ", of which the server is a part" if is_here(run.host) else ""
    return f"end the other work{of_server}, or run on another machine"


def _told(run: Run, waits: Sequence[_Wait]) -> str:
    worst = max(waits, key=lambda wait: wait.lost.share)
    found = cores(run, worst.lost.worker)
    of = f"of the {found} cores" if found and found > 1 else "of the only core" if found else "cores"
    stolen = f", and the virtual machine's host withheld {worst.stolen:.2g}" if worst.stolen >= _STOLEN else ""
    return (
        f"the machine was busy with other work, which used {worst.others:.2g} {of}{stolen}, while "
        f"{named(run, [wait.lost.worker for wait in waits])} waited for a core for "
        f"{longest([wait.lost for wait in waits])}: {_leave(run)}"
    )


def _throttled(vitals: Vitals) -> Iterator[Lost]:
    """For each process, the share of the periods of its CPU limit in which it was stopped."""
    samples = vitals[Vital.THROTTLED_PERCENT]
    for worker in sorted(set(samples.worker)):
        at, percent = of_process(samples, worker)
        seconds = covered(at)
        if np.average(percent, weights=seconds) >= _THROTTLED:
            yield Lost(worker, float((seconds * percent).sum()) / 100, float(seconds.sum()))


def _waits(run: Run, vitals: Vitals) -> Iterator[_Wait]:
    """The processes that waited for a core because of others."""
    for worker in sorted(set(vitals[Vital.OTHERS_PERCENT].worker) & set(vitals[Vital.CPU_WAIT].worker)):
        at, waited = of_process(vitals[Vital.CPU_WAIT], worker)
        stolen = _at(vitals[Vital.STEAL_PERCENT], worker, at)
        lost = np.minimum(waited + stolen / (cores(run, worker) or 1), 100.0)
        seconds, short = covered(at), lost >= _WAITED
        whole = Lost(worker, float((seconds * lost)[short].sum()) / 100, float(seconds.sum()))
        if whole.share < _SHORT:
            continue
        of_host = [name for name in set(vitals[Vital.CPU_PERCENT].worker) if host_of(run, name) == host_of(run, worker)]
        used = {name: _at(vitals[Vital.CPU_PERCENT], name, at)[short].mean() for name in {*of_host, worker}}
        ours = sum(used.values())
        others = _at(vitals[Vital.OTHERS_PERCENT], worker, at)[short].mean() - (ours - used[worker])
        taken = max(0.0, others) + stolen[short].mean()
        python = _at(vitals[Vital.PYTHON_PERCENT], worker, at)[short].mean()
        # While a thread waits for a core, somebody uses it, and that may be our own threads.
        if python < _FULL and taken >= max(float(lost[short].mean()) / 2, ours):
            yield _Wait(whole, max(0.0, others) / 100, float(stolen[short].mean()) / 100)


def _at(samples: VitalSeries, worker: str, moments: Floats) -> Floats:
    """A process's samples at these moments; 0 without any."""
    at, values = of_process(samples, worker)
    return np.interp(moments, at, values) if len(at) else np.zeros(len(moments))


def is_here(host: str) -> bool:
    """Whether the server is surely on the machine that drives the load."""
    try:
        name = urlsplit(host).hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:  # a name, or no URL
        return False
