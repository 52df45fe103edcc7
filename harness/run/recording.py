"""The record of one run while it is being made. One `Recording` belongs to one run, and is dropped with it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store import Run, RunStatus, Store
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run.live import LiveProgress
from streamgauge.harness.run.messages import Batch
from streamgauge.harness.run.processes import ProcessSummary

_MOST_REFUSED = 20  # times in a row that a batch could not be stored, before the run is given up
_SERVER = "target"  # where a process that drives users has its name, the server's vitals have this


class Recording:
    def __init__(self, store: Store, run: Run, clock: RunClock, give_up: Callable[[str], None]) -> None:
        """`run` is in the store already. `give_up` is called with the reason when the store takes nothing any more."""
        self.store = store
        self.run = run
        self.clock = clock
        self.notes: list[str] = []  # what went wrong, a sentence each
        self.processes: defaultdict[str, ProcessSummary] = defaultdict(ProcessSummary)  # by name
        self.live = LiveProgress()
        self._give_up = give_up
        self._refused = 0  # times in a row that a batch could not be stored
        self._server_vitals: list[VitalSample] = []  # not stored yet

    def keep(self, batch: Batch) -> bool:
        """Store a batch. False if that is impossible now; then the caller must try again later."""
        try:
            self.store.append(self.run.id, batch.streams, _rows(batch.worker, batch.vitals))
        except StoreError as fault:
            self._refused += 1
            if self._refused == _MOST_REFUSED:  # end the run while what it had seen by now can still be kept in memory
                self._give_up(str(fault))
            return False
        self._refused = 0
        self.live.see(batch.streams)
        self.processes[batch.worker].add(len(batch.streams), batch.vitals)
        return True

    def keep_server_vitals(self, samples: Sequence[VitalSample]) -> None:
        """Store what the server's metrics page said. If the file is locked, the next call stores it."""
        self._server_vitals += samples
        with suppress(StoreError):
            self.store.append(self.run.id, [], _rows(_SERVER, self._server_vitals))
            self._server_vitals = []

    def held_back(self) -> list[str]:
        """Notes on the processes that could not send fast enough what they saw."""
        return [
            f"{name} held new streams back for {process.held_seconds} s, until what it had sent was stored: "
            f"the load was less than asked for"
            for name, process in self.processes.items()
            if process.held_seconds
        ]

    def finish(self, status: RunStatus, ended: int, facts: dict[str, Any]) -> None:
        """Write the end of the run, which was at `ended` (ns on its clock), with more facts about the instrument."""
        drifts = (self.clock.drift(), *(process.clock_drift for process in self.processes.values()))
        workers = {name: process.facts() for name, process in sorted(self.processes.items())}
        instrument = {Vital.CLOCK_DRIFT: max(drifts, key=abs), **facts, "workers": workers}
        self.store.finish_run(self.run.id, ended_ns=ended, status=status, instrument=instrument, notes=self.notes)


def _rows(worker: str, samples: Iterable[VitalSample]) -> list[tuple[str, int, str, float]]:
    return [(worker, *sample) for sample in samples]
