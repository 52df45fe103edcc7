"""Runs that tests make beside other programs, which can keep a run from its cores and make it invalid."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from streamgauge.harness import cores
from tests.support.forking import FIRST, before_others
from tests.support.late import Late

store, judgement = Late("streamgauge.harness.judge.store"), Late("streamgauge.harness.judge.verdict.judgement")
validity, sla = Late("streamgauge.harness.judge.verdict.validity"), Late("streamgauge.harness.judge.verdict.sla")
short_of_cores = Late("streamgauge.harness.judge.verdict.short_of_cores")

_BUSY = "the machine was busy with other work"  # of a verdict: judge/verdict/short_of_cores.py

_STARTED_LATE = ("were started late", "could not be started")  # of users: judge/verdict/less_load.py


def again_if_busy(
    attempt: "Callable[[], subprocess.CompletedProcess[str]]",
) -> "subprocess.CompletedProcess[str]":
    """What an attempt ends with. It gets a second one if the first says that other programs had the cores of a run.

    That is said only of runs that are invalid for this reason, so no other wrong verdict is tried again. An attempt
    begins by removing what the one before it left. What it starts computes before all other programs, if the tests may
    ask for that: its verdict is what the test is about.
    """
    with first():
        ended = attempt()
        return attempt() if _was_busy(ended) else ended


def only_busy(ended: "subprocess.CompletedProcess[str]") -> bool:
    """Whether it came to no verdict, and says that other programs had the cores: so it may be on a busy machine."""
    return ended.returncode == 3 and _was_busy(ended)


@contextlib.contextmanager
def first() -> Iterator[None]:
    """Have this thread, and the threads and processes that it starts, compute before all others, if it may ask so.

    For what mostly waits, and has to notice in time what it waits for: with the servers that have to be in time for it.
    """
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FIRST, "1")  # for forks
        before_others(1)
        try:
            yield
        finally:
            os.sched_setscheduler(0, policy, priority)


def ended_well(code: int | None, database: Path) -> bool:
    """Of a test that asks for other things than the verdict: whether the run was MET, or was only kept from its cores.

    Such a run is INVALID since it, or its users, were late because of other programs. No stream, no worker and no time
    may be missing from it, and no rule missed: that would be another reason.
    """
    return code == 0 or (code == 3 and _only_late(database))


def _only_late(database: Path) -> bool:
    with store.Store.open(database) as opened:
        found = judgement.judge(opened)
        vitals = {name: opened.vital(found.run.id, name) for name in validity.EVIDENCE}
    evidence = validity.Evidence(found.run, found.totals, found.distributions, vitals, found.warm_up, cold_start="")
    statuses = {verdict.status for verdict in found.verdicts}
    doubts = validity.doubts_of_good_figures(evidence)
    late = [doubt for doubt in doubts if any(words in doubt for words in _STARTED_LATE)]
    return (
        found.verdict is judgement.RunVerdict.INVALID
        and bool(late or short_of_cores.explained(found.run, vitals))
        and doubts == late
        and sla.RuleStatus.MISSED not in statuses
    )


def _was_busy(ended: "subprocess.CompletedProcess[str]") -> bool:
    return _BUSY in " ".join((ended.stdout + ended.stderr).split())  # whatever the width of the terminal


def cores_until_now() -> tuple[list[Any], int]:
    """What the cores that these tests may use have done, and a time that grows while a control group limits theirs."""
    every = psutil.cpu_times(percpu=True)
    return [every[place] for place in cores.places()], sum(_throttled())


def cores_in_use(since: tuple[list[Any], int]) -> float:
    """The share of these cores that were in use, or withheld by the host, since this `cores_until_now()`.

    1 if a control group has limited their time.
    """
    (before, throttled), (now, still) = since, cores_until_now()
    if still > throttled:
        return 1.0
    passed = [sum(after) - sum(earlier) for earlier, after in zip(before, now, strict=True)]
    idle = [_idle(after) - _idle(earlier) for earlier, after in zip(before, now, strict=True)]
    return float(1 - sum(idle) / sum(passed))


def _idle(times: Any) -> float:
    return float(times.idle + getattr(times, "iowait", 0.0))


def _throttled() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):
        files = (folder / "cpu.stat" for folder in cores.control_groups(Path("/")))
        for line in (line for file in files for line in file.read_text().splitlines()):
            if line.startswith(("throttled_usec ", "throttled_time ")):  # of version 2, and 1
                yield int(line.split()[1])


def waited_for_a_core(pid: int) -> int:
    """For how long a thread, or the first one of a process, could have computed while others had the cores, ns."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])
