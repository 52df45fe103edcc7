"""The facts about each process that simulates users, gathered during a run for its record. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from statistics import fmean
from typing import Any

import msgspec

from streamgauge.harness.counting import some
from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run.messages import Machine, Ready, cleaned

_BETWEEN_MESSAGES = 0.5  # seconds between two batches of a process
# Seconds of its fastest pace that a lost process may not have told: half of it may have all streams of a second, and a
# message may be late.
_UNTOLD = 1.0


@dataclass(slots=True)
class ProcessSummary:
    about: dict[str, Any] = field(default_factory=dict)  # its machine and clock; empty until it has reported them
    streams: int = 0  # stored
    begun: int = 0  # streams begun, by its last stored message
    lost: bool = False  # it ended without having sent everything
    alone: float = 0.0  # seconds that it may have gone on without a connection, if it is lost
    silent_seconds: float = 0.0  # how long nothing came from it in the run, when it was out of reach and came back
    fastest: float = 0.0  # streams begun per second, the most between two samples
    users: list[tuple[int, float]] = field(default_factory=list)  # when (ns on the run's clock), and how many
    _sampled: tuple[int, float] | None = None  # the last sample of the streams begun
    held_seconds: int = 0  # how long it held new streams back, since its outbox was full
    worst: dict[Vital, float] = field(default_factory=dict)  # the value of each that is farthest from 0
    latest: dict[Vital, float] = field(default_factory=dict)  # by the last stored sample of each

    def add(self, streams: int, vitals: Iterable[VitalSample], begun: int = 0) -> None:
        """Count a stored batch; `begun`: streams that the process had begun when it sent the batch."""
        self.streams += streams
        self.begun = max(self.begun, begun)
        for at, vital, value in vitals:
            self.latest[vital] = value
            if vital.worst_as:
                self.worst[vital] = max(self.worst.get(vital, 0.0), value, key=abs)
            elif vital is Vital.STREAMS_BEGUN:
                self.begun = max(self.begun, int(value))
                if self._sampled is not None and at > self._sampled[0]:
                    seconds = (at - self._sampled[0]) / 1e9
                    self.fastest = max(self.fastest, (value - self._sampled[1]) / max(seconds, _BETWEEN_MESSAGES))
                self._sampled = (at, value)
            elif vital is Vital.USERS:
                self.users.append((at, value))
            elif vital is Vital.HELD_STREAMS:
                self.held_seconds += 1

    @property
    def lost_least(self) -> int:
        """Streams that a lost process had begun by its last message, and whose records never arrived."""
        return max(0, self.begun - self.streams)

    @property
    def lost_most(self) -> int | None:
        """With those that it can have begun after that message: as many as in its fastest second. None: unknown.

        Twice that pace if users were still being added: each one begins a stream at once, and so may those after it.
        """
        pace = self.fastest * (2 if self._was_growing() else 1)
        return self.lost_least + ceil(pace * (_UNTOLD + self.alone)) if pace else None

    def _was_growing(self) -> bool:
        """By its last two samples."""
        (_, before), (_, last) = ([(0, 0.0)] * 2 + self.users)[-2:]
        return last > before

    def assume_pace_of(self, others: Iterable["ProcessSummary"]) -> None:
        """If it was lost before it had told its own pace: that of the fastest."""
        self.fastest = self.fastest or max((other.fastest for other in others), default=0.0)

    def loss(self) -> str:
        """What is known of the streams that were lost with the process."""
        if self.lost_most is None:
            return "an unknown number of streams: it ended before it had told how fast it began them"
        alone = f" in {self.alone:.0f} s without a connection" if self.alone else ""
        return (
            f"{self.lost_least} to {some(self.lost_most, 'stream')}: {self.lost_least} that it had begun by its last "
            f"message, and up to {self.lost_most - self.lost_least} that it may have begun after it{alone}; how they "
            f"ended is unknown"
        )

    def users_at(self, moment: int) -> float:
        """The users that it had then, by its last sample before; 0 before the first one."""
        return next((users for at, users in reversed(self.users) if at <= moment), 0.0)

    @property
    def clock_drift(self) -> int:
        return int(self.worst.get(Vital.CLOCK_DRIFT, 0))

    def facts(self) -> dict[str, Any]:
        """This process's entry in the run's record; docs/concepts/validity.md lists the keys."""
        worst = {vital.worst_as: value for vital, value in self.worst.items()}
        lost = {"lost_least": self.lost_least, "lost_most": self.lost_most} if self.lost else {}
        known: dict[str, float] = {name: number for name, number in lost.items() if number is not None}
        if self.silent_seconds:
            known["silent_seconds"] = round(self.silent_seconds, 1)
        return {**self.about, "streams": self.streams, **known, **worst, Vital.CLOCK_DRIFT.worst_as: self.clock_drift}


def missing_load(processes: Mapping[str, ProcessSummary], left: Collection[str], until: int) -> float:
    """Which share of the load that was asked for was missing, since the processes `left` ended before the run did.

    Load is counted as users times seconds. `until`: when the run was to end, ns on its clock.
    """
    missing = 0.0
    others = [process for name, process in processes.items() if name not in left]
    for process in (processes[name] for name in left if name in processes):
        # One that ended within its first second has no sample. Locust divides the users evenly.
        as_others = (0, fmean([max((users for _, users in other.users), default=0.0) for other in others] or [1.0]))
        at, users = next((sample for sample in reversed(process.users) if sample[1]), as_others)
        # Locust may give the users of a worker that is gone to the others.
        taken_over = sum(_taken_over(other, at) for other in others)
        missing += max(0.0, users - max(0.0, taken_over)) * max(0, until - at) / 1e9
    had = sum(users for process in processes.values() for _, users in process.users)  # one sample a second
    return missing / (missing + had) if missing else 0.0


def _taken_over(process: ProcessSummary, at: int) -> float:
    """How many users the process had more after this moment than at it, on average; 0 if it had none before."""
    before, after = process.users_at(at), [users for moment, users in process.users if moment > at]
    return fmean(after) - before if after and before else 0.0


def about_this_process(machine: Machine) -> dict[str, Any]:
    """`ProcessSummary.about` of the process that records the run: its own clock is the run's."""
    return msgspec.structs.asdict(machine)


def about_worker(ready: Ready) -> dict[str, Any]:
    """`ProcessSummary.about` of a worker, whose clock was compared with the master's."""
    clock = {"clock_offset_ns": ready.clock_offset_ns, "clock_doubt_ns": ready.clock_doubt_ns}
    machine = {
        name: cleaned(fact) if isinstance(fact, str) else fact
        for name, fact in msgspec.structs.asdict(ready.machine).items()
    }
    return {**machine, **clock}
