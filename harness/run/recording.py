"""The record of one run while it is being made. Each run has its own `Recording`."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from streamgauge.harness.counting import some
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store import Run, RunStatus, Store
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run.live import LiveProgress
from streamgauge.harness.run.messages import Batch
from streamgauge.harness.run.process_summary import ProcessSummary, missing_load
from streamgauge.harness.run.writer import Patience, Rows, Writer

_SERVER = "target"  # what the server's vitals are stored under, in place of a process's name

T = TypeVar("T")


class Recording:
    def __init__(
        self,
        store: Store,
        run: Run,
        clock: RunClock,
        give_up: Callable[[str], None],
        patience: Patience | None = None,
    ) -> None:
        """`give_up` is called with the reason when nothing has been stored for too long."""
        self.run = run
        self.clock = clock
        self.notes: list[str] = []  # what went wrong, a sentence each
        self.processes: defaultdict[str, ProcessSummary] = defaultdict(ProcessSummary)  # by name
        self.early: set[str] = set()  # names of processes that finished before the run did
        self.live = LiveProgress(run.measured_from or 0)
        self.counted_by: list[Callable[[Sequence[StreamObservation]], None]] = [self.live.add]
        self._store = store
        self._writer = Writer(store, run.id, give_up, patience)
        self._streams = 0  # handed over to be stored

    @property
    def full(self) -> bool:
        """Whether so much waits to be stored that no new streams should begin. `keep` still accepts a batch."""
        return self._writer.full

    def keep(self, batch: Batch, stored: Callable[[], None] | None = None) -> None:
        """Have a batch stored; `stored` is called when it is in the database."""
        self._streams += len(batch.streams)
        for count in self.counted_by:
            count(batch.streams)
        rows = Rows(batch.streams, rows_of(batch), partial(self._stored, batch, stored))
        self._writer.put(rows)

    def _stored(self, batch: Batch, then: Callable[[], None] | None) -> None:
        self.processes[batch.worker].add(len(batch.streams), batch.vitals, batch.begun)
        if then is not None:
            then()

    def keep_server_vitals(self, samples: Sequence[VitalSample]) -> None:
        """Have samples of the server's metrics page stored."""
        self._writer.put(Rows((), _rows(_SERVER, samples), _nothing))

    def read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function with the store and these arguments, without stopping the loop."""
        return self._writer.in_thread(function, self._store, *arguments)

    def never_give_up(self) -> None:
        """Do not call `give_up` from here on: the run ends anyway. `finish` says what could not be saved."""
        self._writer.never_give_up()

    def _held_back(self) -> list[str]:
        """Notes on the processes whose batches were not stored as fast as streams ended."""
        return [
            f"{name} held new streams back for {process.held_seconds} s, until what it had sent was stored: "
            f"the load was less than asked for"
            for name, process in self.processes.items()
            if process.held_seconds
        ]

    def _lost(self) -> list[str]:
        """Notes on the processes that were lost."""
        lost = sorted((name, process) for name, process in self.processes.items() if process.lost)
        return [f"{name} was lost, and with it {process.loss()}" for name, process in lost]

    def _missing_load(self, until: int) -> dict[str, float]:
        left = self.early | {name for name, process in self.processes.items() if process.lost}
        share = missing_load(self.processes, left, until)
        return {"load_missing": share} if share else {}

    def finish(self, status: RunStatus, ended: int, facts: dict[str, Any], until: int | None = None) -> str:
        """Store what waits, then the end of the run; both wait for a limited time.

        `ended` is when the run ended, ns on its clock, and `until` when it was to end; None: then. `facts` are more
        facts of the instrument. Returns what could not be saved, a sentence; "" if all is. `Store.run` then says the
        same, even if the database takes nothing more.
        """
        self._writer.finish()
        unsaved = self._unsaved
        for process in self.processes.values():
            process.assume_pace_of(self.processes.values())
        drifts = (self.clock.drift(), *(process.clock_drift for process in self.processes.values()))
        workers = {name: process.facts() for name, process in sorted(self.processes.items())}
        instrument = {Vital.CLOCK_DRIFT: max(drifts, key=abs), **facts, "streams": self._streams, "workers": workers}
        instrument |= self._missing_load(max(ended, until or 0))
        if unsaved:
            instrument["unsaved"] = unsaved
        end = partial(
            self._store.finish_run,
            self.run.id,
            ended_ns=ended,
            status=status,
            instrument=instrument,
            notes=[*self.notes, *self._lost(), *self._held_back()],
        )
        try:
            self._writer.in_thread(end)
        except StoreError as fault:
            return unsaved or f"the end of the run could not be stored: {fault}"
        return unsaved

    @property
    def _unsaved(self) -> str:
        if not self._writer.unsaved:
            return ""
        why = self._writer.fault or "they hold values that SQLite does not take"
        return f"{self._writer.unsaved:,} of {some(self._streams, 'stream')} could not be stored: {why}"

    @contextmanager
    def ended(self) -> Iterator[Store]:
        """The database of the run that has ended, closed afterwards. StoreError if a call hangs in it."""
        self._writer.end()
        with self._store:
            yield self._store


def _nothing() -> None:
    pass


def rows_of(batch: Batch) -> list[tuple[str, int, str, float]]:
    """Its vitals as the store takes them."""
    return _rows(batch.worker, batch.vitals)


def _rows(worker: str, samples: Iterable[VitalSample]) -> list[tuple[str, int, str, float]]:
    return [(worker, *sample) for sample in samples]
