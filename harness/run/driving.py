"""The users that one process simulates in a run: assigns them to the run, and records their streams.

Used in a run without workers and, for the master's run, in each worker.
"""

import os
import platform
from collections.abc import Callable
from typing import Any

from locust.env import Environment
from locust.runners import WorkerRunner

from streamgauge.harness.calibration import kept
from streamgauge.harness.drive.dispatcher import Dispatcher, Unserved
from streamgauge.harness.drive.recorder import Deliver, Recorder
from streamgauge.harness.drive.request import RequestFormat
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.users import Assignment, StreamUser, assign
from streamgauge.harness.drive.wire.stamps import stamped_by
from streamgauge.harness.native import library
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.harness.record.vitals import Vital
from streamgauge.harness.run.messages import Machine, StartRun
from streamgauge.harness.run.open_load import dispatcher_of
from streamgauge.harness.run.probing import Spending
from streamgauge.harness.run.secrecy import protect

LOCAL = "local"  # the name of the process in a run without workers


class Driving:
    """The users of one process in one run."""

    def __init__(
        self, environment: Environment, runner: Any, order: StartRun, clock: RunClock, deliver: Deliver
    ) -> None:
        """Nothing starts yet. StreamgaugeError if the users cannot take part."""
        site = Site.of(order.host, order.target, clock)
        dealt = (value for credential in site.credentials for value in credential.values())
        protect(environment, site.secret.also(dealt))
        for user in environment.user_classes:
            user.client = order.client or user.client
            if issubclass(user, StreamUser):
                user.check(order.target, order.networks)  # imports its client now instead of in the middle of the run
        self._environment = environment
        self._runner = runner
        dispatcher = dispatcher_of(environment, order, clock)
        self._assignment = Assignment(
            run=order.run,
            share=(getattr(runner, "worker_index", 0), order.processes),
            scenario=order.scenario,
            seed=order.seed,
            worker=name_of(runner),
            site=site,
            record=lambda _: None,  # replaced below: the recorder needs this assignment
            networks=order.networks,
            dispatcher=dispatcher,
        )
        self.recorder = Recorder(clock, _vitals(runner, self._assignment, dispatcher), deliver)
        self._assignment.record = self.recorder.record

    @property
    def request_format(self) -> RequestFormat:
        """How questions are put to the target."""
        return self._assignment.site.request_format

    @property
    def dispatcher(self) -> Dispatcher | None:
        """None: a closed load."""
        return self._assignment.dispatcher

    def probe(self, spending: Spending, period: int) -> None:
        """Make this process's streams probes: they keep to the budget, and each is recorded as soon as it ends.

        An arrival that is not served is recorded, too. `period`: ns between two probes; a later one is not sent.
        """
        self._assignment.may_ask = spending.may_ask
        self._assignment.record = spending.recording(self.recorder.record_at_once)
        if self._assignment.dispatcher is not None:
            self._assignment.dispatcher.unserved = Unserved(period, self._not_sent)

    def _not_sent(self, kind: str, due_at: int, why: str) -> None:
        run, user = self._assignment, self._environment.user_classes_by_name[kind]
        clock = run.site.clock
        seen = StreamObservation(
            **run.identity(kind, user, {}),
            due_at=clock.from_monotonic(due_at),
            ended_at=clock.now(),
            outcome=Outcome.INTERRUPTED,
            detail=f"not sent: {why}",
        )
        self.recorder.record_at_once(seen)

    def begin_at_most(self, streams: int) -> None:
        self._assignment.may_ask = lambda *_: self._assignment.streams < streams

    @property
    def begun(self) -> int:
        """Streams begun so far."""
        return self._assignment.streams

    def start(self) -> None:
        """Assign this run to all users that are spawned from now on, and start to record."""
        assign(self._environment, self._assignment)
        self.recorder.start()

    def stop(self) -> None:
        """Stop the users that are left, then stop recording.

        Locust has normally stopped all users by now. But of two stops at once, one by Ctrl-C and one by the master's
        message, the second returns while the first is still stopping users.
        """
        self._runner.user_greenlets.kill()
        self.recorder.stop()


def _vitals(runner: Any, assignment: Assignment, dispatcher: Dispatcher | None) -> dict[Vital, Callable[[], float]]:
    """The vitals that the recorder cannot measure itself, each with the function that returns its value."""
    found: dict[Vital, Callable[[], float]] = {
        Vital.USERS: lambda: runner.user_count,
        Vital.ACTIVE_STREAMS: lambda: assignment.active,
        Vital.STREAMS_BEGUN: lambda: assignment.streams,
        Vital.STARVED_STREAMS: lambda: assignment.starved,
        Vital.CONNECT_LAG: assignment.site.connecting.take_most,
        Vital.LATE_CONNECTIONS: lambda: assignment.site.connecting.late,
    }
    if dispatcher is not None:
        found |= {Vital.ARRIVALS: lambda: dispatcher.arrivals, Vital.DROPPED_ARRIVALS: lambda: dispatcher.dropped}
    return found


def name_of(runner: Any) -> str:
    """The name of this process in the run's record."""
    return f"worker-{runner.worker_index}" if isinstance(runner, WorkerRunner) else LOCAL


def machine() -> Machine:
    """This process and the machine that it runs on."""
    return Machine(
        host=platform.node(),
        pid=os.getpid(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        stamps=stamped_by(),
        reader="compiled" if library.LIBRARY else "python",
        resolution=kept.known().sentence,
    )
