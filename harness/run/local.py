"""The users of a run without workers: the process that records the run also simulates them."""

from collections.abc import Callable
from typing import Any

from locust.env import Environment

from streamgauge.harness.drive.dispatcher import Dispatcher
from streamgauge.harness.drive.request import RequestFormat
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import VitalSample
from streamgauge.harness.run.driving import LOCAL, Driving, machine
from streamgauge.harness.run.messages import Batch, StartRun
from streamgauge.harness.run.open_load import open_dispatcher
from streamgauge.harness.run.probing import Spending
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
        self._batches = 0
        self._ending = False  # the users are being stopped
        self._order = order
        self._driving = Driving(environment, runner, order(LOCAL), recording.clock, self._deliver)

    @property
    def request_format(self) -> RequestFormat:
        return self._driving.request_format

    @property
    def dispatcher(self) -> Dispatcher | None:
        """None: a closed load."""
        return self._driving.dispatcher

    def probe(self, spending: Spending, period: int) -> None:
        """Make the streams probes of a monitor, one every `period` ns. Call it before `start`."""
        self._driving.probe(spending, period)

    def begin_at_most(self, streams: int) -> None:
        """Begin no more streams than that in the whole run. Call it before `start`."""
        self._driving.begin_at_most(streams)

    def start(self) -> None:
        self._recording.processes[LOCAL].about = about_this_process(machine())
        self._driving.start()

    def schedule_begins(self) -> None:
        open_dispatcher(self._environment, self._order(LOCAL).load)

    def let_users_go(self) -> None:
        """Hold no user back from now on: Locust cannot stop a user that waits in the recorder."""
        self._ending = True
        self._driving.recorder.release()

    def finish(self) -> None:
        """Stop the users and hand over the last batch."""
        self._driving.stop()

    def _deliver(self, streams: list[StreamObservation], vitals: list[VitalSample]) -> None:
        self._batches += 1
        batch = Batch(self._recording.run.id, LOCAL, self._batches, streams, vitals)
        self._recording.keep(batch, self._hold_while_full)
        self._hold_while_full()

    def _hold_while_full(self) -> None:
        if self._recording.full and not self._ending:
            self._driving.recorder.hold()
        else:
            self._driving.recorder.release()
