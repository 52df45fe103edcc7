"""The users of a run without workers: this process, which keeps the run, drives them itself."""

from collections.abc import Callable
from typing import Any

from locust.env import Environment

from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import VitalSample
from streamgauge.harness.run import processes
from streamgauge.harness.run.driving import LOCAL, Driving, machine
from streamgauge.harness.run.messages import Batch, StartRun
from streamgauge.harness.run.open_load import open_dispatcher
from streamgauge.harness.run.recording import Recording


class LocalUsers:
    def __init__(
        self, environment: Environment, runner: Any, recording: Recording, order: Callable[[str], StartRun]
    ) -> None:
        """`order`: what the process of this name must do.

        Nothing starts yet. StreamgaugeError if the users cannot take part.
        """
        self._environment = environment
        self._recording = recording
        self._unsaved: list[Batch] = []
        self._batches = 0
        self._order = order
        self._driving = Driving(environment, runner, order(LOCAL), recording.clock, self._deliver)

    def start(self) -> None:
        self._recording.processes[LOCAL].about = processes.of_this_machine(machine())
        self._driving.start()

    def schedule_begins(self) -> None:
        open_dispatcher(self._environment, self._order(LOCAL).load)

    def finish(self) -> None:
        """Store what is left. What cannot be stored is noted."""
        self._driving.stop()
        if self._unsaved:
            lost = sum(len(batch.streams) for batch in self._unsaved)
            self._recording.notes.append(f"{lost} streams could not be stored")

    def _deliver(self, streams: list[StreamObservation], vitals: list[VitalSample]) -> None:
        """Store a batch. If the disk is full or the file locked, it is tried again with the next one."""
        self._batches += 1
        self._unsaved.append(Batch(self._recording.run.id, LOCAL, self._batches, streams, vitals))
        while self._unsaved and self._recording.keep(self._unsaved[0]):
            self._unsaved.pop(0)
