"""The workers of one run, as the master sees them: who takes part, whose batches are stored, who was lost."""

import time
from collections.abc import Callable

import gevent
from locust.env import Environment
from locust.runners import STATE_MISSING, STATE_RUNNING, STATE_SPAWNING, MasterRunner

from streamgauge.harness.run import messages, processes
from streamgauge.harness.run.messages import Batch, Done, FinishRun, FromWorker, Ready, Refused, StartRun, Stored
from streamgauge.harness.run.processes import ProcessSummary
from streamgauge.harness.run.recording import Recording

_DRAIN = 20.0  # seconds that the master waits for the last batches
_FAREWELL = 3.0  # seconds in which the last batch of a worker can still come after Locust has signed the worker off
_UNDER_WAY = {STATE_SPAWNING, STATE_RUNNING}  # users have begun, and are not being stopped


class Workers:
    def __init__(
        self,
        environment: Environment,
        runner: MasterRunner,
        recording: Recording,
        order: Callable[[str], StartRun],
        refused: Callable[[str, str], None],
    ) -> None:
        """`order`: what the worker with a node id must do. `refused` gets a worker's name and its reason."""
        self._environment = environment
        self._runner = runner
        self._recording = recording
        self._order = order
        self._refused = refused
        self._done: dict[str, bool] = {}  # by node id: whether the worker has nothing more to send
        self._stored: dict[str, int] = {}  # by node id: number of the last batch in the database
        self._early: list[str] = []

    def start(self) -> None:
        for client in list(self._runner.clients.all):
            self._tell(client.id)

    def joined(self, node: str) -> None:
        """A worker has connected: in the middle of the run, or again."""
        if self._runner.state in _UNDER_WAY:
            self._tell(node)

    def schedule_begins(self) -> None:
        for node in [node for node, done in self._done.items() if not done]:
            self._tell(node)  # it has the run already, but not yet the time when the schedule begins

    def take(self, message: FromWorker, node: str) -> None:
        match message:
            case Batch():
                self._take_batch(message, node)
            case Ready():
                self._recording.processes[message.worker].about = processes.of_worker(message)
            case Done():
                self._done[node] = True
                if self._runner.state in _UNDER_WAY:
                    self._early.append(self._name_of(node))
            case Refused():
                self._done[node] = True
                self._refused(self._name_of(node), message.reason)

    def finish(self) -> None:
        """Take in what the workers still hold. A worker that is lost is noted: what it had not sent is lost with it."""
        for node in self._done.keys() & self._runner.clients.keys():
            messages.send(self._runner, FinishRun(), node)
        now = time.monotonic()
        give_up_at = now + _DRAIN + (self._environment.stop_timeout or 0)
        alive_at = dict.fromkeys(self._done, now)  # when each was last known to live
        while now < give_up_at and any(
            not done and now < alive_at[node] + _FAREWELL for node, done in self._done.items()
        ):
            gevent.sleep(0.05)
            now = time.monotonic()
            alive_at |= dict.fromkeys(self._done.keys() & set(connected(self._runner)), now)
        for name in sorted(self._name_of(node) for node, done in self._done.items() if not done):
            self._recording.notes.append(
                f"{name} was lost, and with it what it had not sent: "
                f"at least {self._recording.processes.get(name, ProcessSummary()).missing} streams that it had begun"
            )

    def finished_early(self) -> list[str]:
        """Notes on the workers that finished while the run went on."""
        return [f"{worker} finished early; all that it had seen is stored" for worker in self._early]

    def _tell(self, node: str) -> None:
        self._done[node] = False
        messages.send(self._runner, self._order(node), node)

    def _take_batch(self, batch: Batch, node: str) -> None:
        """Store it if it is the next in order. A repeated one is dropped; after a gap, the worker sends all again."""
        stored = self._stored.get(node, 0)
        if batch.number == stored + 1 and self._recording.keep(batch):
            stored = self._stored[node] = stored + 1
        messages.send(self._runner, Stored(batch.run, stored), node)

    def _name_of(self, node: str) -> str:
        return f"worker-{self._runner.get_worker_index(node)}"


def connected(runner: MasterRunner) -> list[str]:
    """Node ids of the workers that Locust hears of."""
    return [client.id for client in runner.clients.all if client.state != STATE_MISSING]
