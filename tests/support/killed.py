"""Runs of which one process gets SIGKILL at a random moment, and what is left of them."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psutil

from tests.support.busy import waited_for_a_core
from tests.support.command import BIN, HASTY, PATIENCE, RULES, count, processes, started, until

RUN_TIME = 3  # seconds
WORKERS = 2
GONE_WITHIN = 60.0  # seconds, after a kill: everything that the victim had started
FOR_LONG = 3 * GONE_WITHIN  # seconds: a run that is to be killed in its middle, and would go on if it were not

# Who gets the signal: Locust's only process below the command, the command itself, the master below the command, one of
# two workers, or plain Locust in a run without end.
VICTIMS = ("local", "command", "master", "worker", "endless")


@dataclass(frozen=True)
class Plan:
    number: int
    victim: str
    early: bool  # while it starts; else once the first stream is stored
    after: float  # seconds
    pick: float  # 0 to 1: which of several workers

    @property
    def name(self) -> str:
        return f"kill-{self.number}-{self.victim}"

    @property
    def run_time(self) -> float:
        """Seconds. A kill after it comes while the run ends, or later."""
        return RUN_TIME if self.after > RUN_TIME or self.victim == "worker" else FOR_LONG


def plans(seed: int, number: int) -> list[Plan]:
    """Each victim in turn. Every fourth kill is early; the others come in the run, at its end, or just after it."""
    random = Random(seed)
    found = []
    for place in range(number):
        early = place % 4 == 0
        after = random.uniform(0, 2.0 if early else RUN_TIME + 1.5)
        found.append(Plan(place, VICTIMS[place % len(VICTIMS)], early, after, random.random()))
    return found


@dataclass(frozen=True)
class Killed:
    plan: Plan
    at: int  # CLOCK_MONOTONIC, ns
    exit_code: int | None  # of the process that the test started; None: it got the signal itself
    said: str  # by it and those that it started, on standard error
    in_time: bool  # whether the victim was still there
    left: list[int]  # processes that were still there too late
    withheld: float  # seconds for which its threads could have computed before, while others had the cores
    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "run.db"


def kill(plan: Plan, host: str, place: Path) -> Killed:
    """Start the run, kill the victim, and wait until all is over."""
    folder = place / plan.name
    folder.mkdir()
    (folder / "hasty.py").write_text(HASTY)
    (folder / "rules.toml").write_text(RULES + f'[target.headers]\nx-gauge-stream = "{plan.name}"\n')
    with (
        (folder / "said").open("w") as said,
        started(
            _words(plan, host), cwd=folder, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
        ) as process,
    ):
        try:
            return _watched(plan, process, folder)
        finally:
            _end(process.pid)


def _end(leader: int) -> None:
    """End what is left of a session."""
    for number in _session(leader):
        with contextlib.suppress(ProcessLookupError):  # it ended just now
            os.kill(number, signal.SIGKILL)


def _words(plan: Plan, host: str) -> Sequence[object]:
    load: list[object] = ["--host", host, "--users", 6, "--spawn-rate", 6]
    if plan.victim == "endless":
        ours = ["--gauge-config", "rules.toml", "--gauge-db", "run.db", "--gauge-report", "page.html"]
        return [BIN / "locust", "-f", "hasty.py", "--headless", "--only-summary", *load, *ours]
    ours = ["--config", "rules.toml", "--db", "run.db", "--report", "page.html", "--json", "result.json"]
    several = ["--", *processes(WORKERS)] if plan.victim in {"master", "worker"} else []
    return [BIN / "streamgauge", "run", "hasty.py", *load, "--run-time", f"{plan.run_time:g}s", *ours, *several]


def _watched(plan: Plan, begun: "subprocess.Popen[str]", folder: Path) -> Killed:
    victim = _victim(plan, begun)
    while victim is None and begun.poll() is None:
        time.sleep(0.05)
        victim = _victim(plan, begun)
    if not plan.early:
        until(lambda: count(folder / "run.db", "streams") > 0 or begun.poll() is not None)
    time.sleep(plan.after)
    others = _session(begun.pid)
    withheld = _withheld(others)
    at = time.monotonic_ns()
    in_time = victim is not None and _killed_alive(victim)
    if victim is not None and victim.pid == begun.pid:
        begun.wait()
        code = None if in_time else begun.returncode
    else:
        code = begun.wait(PATIENCE)
    give_up_at = time.monotonic() + GONE_WITHIN
    while _session(begun.pid) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    left = _session(begun.pid)
    assert others or not in_time
    return Killed(plan, at, code, (folder / "said").read_text(), in_time, left, withheld, folder)


def _killed_alive(victim: psutil.Process) -> bool:
    """Kill it. Whether that ended it: a process that stands still has not ended by itself, and will not any more."""
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.suspend()
        until(lambda: victim.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE})
        stopped = bool(victim.status() == psutil.STATUS_STOPPED)
        victim.kill()
        return stopped
    return False  # it had ended


def _victim(plan: Plan, begun: "subprocess.Popen[str]") -> psutil.Process | None:
    """The process to kill; None while there is none, or if all is over."""
    try:
        command = psutil.Process(begun.pid)
        if plan.victim in {"command", "endless"}:
            return command
        found = locusts(command)
        if plan.victim != "worker":
            return found[0] if found else None
        workers = locusts(found[0]) if found else []
        return workers[int(plan.pick * len(workers))] if len(workers) == WORKERS else None
    except psutil.NoSuchProcess:
        return None


def locusts(parent: psutil.Process) -> list[psutil.Process]:
    """Its children that drive users, without helpers that end at once."""
    found = []
    for each in parent.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a helper that has ended
            found += [each] if {"locust", "streamgauge.harness.run"} & set(each.cmdline()) else []
    return found


def _withheld(those: Sequence[int]) -> float:
    """Seconds for which threads of these processes could have computed while others had the cores."""
    found = 0
    for number in those:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += sum(_waited(thread.id) for thread in psutil.Process(number).threads())
    return found / 1e9


def _waited(thread: int) -> int:
    """ns for which a thread could have computed before; 0 if it has ended."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        return waited_for_a_core(thread)
    return 0


def _session(leader: int) -> list[int]:
    """The processes of a session that are alive: those that its leader started, and all that they did."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            if os.getsid(process.pid) == leader and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, PermissionError):
            continue
    return found


def sent_to(name: str, truth: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The truth log's rows of one run, by request id."""
    return {row["id"]: row for row in truth if row["client"] == name}
