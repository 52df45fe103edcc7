"""The record of one run while it is being made. Each run has its own `Recording`."""

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
from streamgauge.harness.run.process_summary import ProcessSummary

_MOST_REFUSED = 20  # failures in a row to store a batch after which the run is given up
_SERVER = "target"  # what the server's vitals are stored under, in place of a process's name


class Recording:
    def __init__(self, store: Store, run: Run, clock: RunClock, give_up: Callable[[str], None]) -> None:
        """`give_up` is called with the reason when nothing has been stored for too long."""
        self.store = store
        self.run = run
        self.clock = clock
        self.notes: list[str] = []  # what went wrong, a sentence each
        self.processes: defaultdict[str, ProcessSummary] = defaultdict(ProcessSummary)  # by name
        self.live = LiveProgress()
        self._give_up = give_up
        self._refused = 0  # failures in a row to store a batch
        self._server_vitals: list[VitalSample] = []  # not stored yet

    def keep(self, batch: Batch) -> bool:
        """Store a batch. False if that failed; then the caller must try again later."""
        try:
            self.store.append(self.run.id, batch.streams, _rows(batch.worker, batch.vitals))
        except StoreError as fault:
            self._refused += 1
            if self._refused == _MOST_REFUSED:  # end the run before unsaved batches fill the memory
                self._give_up(str(fault))
            return False
        self._refused = 0
        self.live.add(batch.streams)
        self.processes[batch.worker].add(len(batch.streams), batch.vitals)
        return True

    def keep_server_vitals(self, samples: Sequence[VitalSample]) -> None:
        """Store samples of the server's metrics page. If the file is locked, the next call stores them too."""
        self._server_vitals += samples
        with suppress(StoreError):
            self.store.append(self.run.id, [], _rows(_SERVER, self._server_vitals))
            self._server_vitals = []

    def held_back(self) -> list[str]:
        """Notes on the processes whose batches were not stored as fast as streams ended."""
        return [
            f"{name} held new streams back for {process.held_seconds} s, until what it had sent was stored: "
            f"the load was less than asked for"
            for name, process in self.processes.items()
            if process.held_seconds
        ]

    def finish(self, status: RunStatus, ended: int, facts: dict[str, Any]) -> None:
        """Store the end of the run: when it ended (ns on its clock), its status, and more `facts` of the instrument."""
        drifts = (self.clock.drift(), *(process.clock_drift for process in self.processes.values()))
        workers = {name: process.facts() for name, process in sorted(self.processes.items())}
        instrument = {Vital.CLOCK_DRIFT: max(drifts, key=abs), **facts, "workers": workers}
        self.store.finish_run(self.run.id, ended_ns=ended, status=status, instrument=instrument, notes=self.notes)


def _rows(worker: str, samples: Iterable[VitalSample]) -> list[tuple[str, int, str, float]]:
    return [(worker, *sample) for sample in samples]
