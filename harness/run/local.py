"""The users of a run without workers: the process that records the run also simulates them."""

from collections.abc import Callable
from typing import Any

from locust.env import Environment

from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import VitalSample
from streamgauge.harness.run.driving import LOCAL, Driving, machine
from streamgauge.harness.run.messages import Batch, StartRun
from streamgauge.harness.run.open_load import open_dispatcher
from streamgauge.harness.run.process_summary import about_this_process
from streamgauge.harness.run.recording import Recording


class LocalUsers:
    def __init__(
        self, environment: Environment, runner: Any, recording: Recording, order: Callable[[str], StartRun]
    ) -> None:
        """`order` returns what the process with a node id must know of the run; here always `LOCAL`.

        Starts nothing yet. StreamgaugeError if the users cannot take part.
        """
        self._environment = environment
        self._recording = recording
        self._unsaved: list[Batch] = []
        self._batches = 0
        self._order = order
        self._driving = Driving(environment, runner, order(LOCAL), recording.clock, self._deliver)

    def start(self) -> None:
        self._recording.processes[LOCAL].about = about_this_process(machine())
        self._driving.start()

    def schedule_begins(self) -> None:
        open_dispatcher(self._environment, self._order(LOCAL).load)

    def finish(self) -> None:
        """Stop the users and store the last batch. Notes how many streams could not be stored."""
        self._driving.stop()
        if self._unsaved:
            lost = sum(len(batch.streams) for batch in self._unsaved)
            self._recording.notes.append(f"{lost} streams could not be stored")

    def _deliver(self, streams: list[StreamObservation], vitals: list[VitalSample]) -> None:
        """Store a batch. If that fails (disk full, file locked), it is tried again with the next batch."""
        self._batches += 1
        self._unsaved.append(Batch(self._recording.run.id, LOCAL, self._batches, streams, vitals))
        while self._unsaved and self._recording.keep(self._unsaved[0]):
            self._unsaved.pop(0)
