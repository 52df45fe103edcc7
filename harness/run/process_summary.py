"""The facts about each process that simulates users, gathered during a run for its record. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run.messages import Machine, Ready


@dataclass(slots=True)
class ProcessSummary:
    about: dict[str, Any] = field(default_factory=dict)  # its machine and clock; empty until it has reported them
    streams: int = 0  # stored
    begun: int = 0  # streams begun, by its last stored sample
    held_seconds: int = 0  # how long it held new streams back, since its outbox was full
    worst: dict[Vital, float] = field(default_factory=dict)  # the value of each that is farthest from 0

    def add(self, streams: int, vitals: Iterable[VitalSample]) -> None:
        """Count a stored batch."""
        self.streams += streams
        for _, vital, value in vitals:
            if vital.worst_as:
                self.worst[vital] = max(self.worst.get(vital, 0.0), value, key=abs)
            elif vital is Vital.STREAMS_BEGUN:
                self.begun = max(self.begun, int(value))
            elif vital is Vital.HELD_STREAMS:
                self.held_seconds += 1

    @property
    def missing(self) -> int:
        """Streams begun without a stored record. For a lost process a lower bound: its last sample may be missing."""
        return max(0, self.begun - self.streams)

    @property
    def clock_drift(self) -> int:
        return int(self.worst.get(Vital.CLOCK_DRIFT, 0))

    def facts(self) -> dict[str, Any]:
        """This process's entry in the run's record; docs/concepts/validity.md lists the keys."""
        worst = {vital.worst_as: value for vital, value in self.worst.items()}
        return {**self.about, "streams": self.streams, **worst, Vital.CLOCK_DRIFT.worst_as: self.clock_drift}


def about_this_process(machine: Machine) -> dict[str, Any]:
    """`ProcessSummary.about` of the process that records the run: its own clock is the run's."""
    return msgspec.structs.asdict(machine)


def about_worker(ready: Ready) -> dict[str, Any]:
    """`ProcessSummary.about` of a worker, whose clock was compared with the master's."""
    clock = {"clock_offset_ns": ready.clock_offset_ns, "clock_doubt_ns": ready.clock_doubt_ns}
    return {**msgspec.structs.asdict(ready.machine), **clock}
