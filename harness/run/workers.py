"""The master's side of one run with workers: starts them, stores their batches, and notes workers that were lost."""

import time
from collections.abc import Callable
from functools import partial

import gevent
from locust.env import Environment
from locust.runners import STATE_MISSING, STATE_RUNNING, STATE_SPAWNING, MasterRunner

from streamgauge.harness.judge.store import fault_of
from streamgauge.harness.run import messages
from streamgauge.harness.run.messages import (
    SILENT,
    Batch,
    Done,
    FinishRun,
    FromWorker,
    Ready,
    Refused,
    StartRun,
    Stored,
)
from streamgauge.harness.run.process_summary import about_worker
from streamgauge.harness.run.recording import Recording, rows_of
from streamgauge.harness.run.terminal import say

_LAST_BATCHES = 20.0  # seconds that the master waits for the last batches
_AFTER_SIGN_OFF = 3.0  # seconds that it waits for those of a worker after Locust has signed the worker off
_TICK = 0.25  # seconds between two looks at whether workers are silent
_AWAY = 3.0  # seconds without a message after which a worker is out of reach; it sends a heartbeat every second
# Seconds that a worker elsewhere goes on at most: it may still receive from the master shortly after the master has
# stopped receiving from it.
_ALONE = SILENT + 2
_UNDER_WAY = {STATE_SPAWNING, STATE_RUNNING}  # states in which users run and are not being stopped


class Workers:
    def __init__(
        self,
        environment: Environment,
        runner: MasterRunner,
        recording: Recording,
        order: Callable[[str], StartRun],
        refused: Callable[[str, str], None],
    ) -> None:
        """`order` returns the message that starts the worker with a node id.

        `refused` is called with a worker's name and its reason if the worker cannot take part.
        """
        self._environment = environment
        self._runner = runner
        self._recording = recording
        self._order = order
        self._refused = refused
        self._done: dict[str, bool] = {}  # by node id: whether the worker has nothing more to send
        self._taken: dict[str, int] = {}  # by node id: number of the last batch handed over to be stored
        self._stored: dict[str, int] = {}  # by node id: number of the last batch in the database
        self._silent: dict[str, float] = {}  # by node id: seconds since its last message
        self._warned: set[str] = set()  # node ids of workers of whom a batch was dropped
        self._early: list[str] = []  # names of workers that finished before the run ended

    def start(self) -> None:
        for client in list(self._runner.clients.all):
            self._send_order(client.id)

    def joined(self, node: str) -> None:
        """A worker has connected in the middle of the run, for the first time or again."""
        if self._runner.state in _UNDER_WAY:
            self._send_order(node)

    def schedule_begins(self) -> None:
        for node in [node for node, done in self._done.items() if not done]:
            self._send_order(node)  # again, now with the time when the schedule begins

    def take(self, message: FromWorker, node: str) -> None:
        """A message counts only if its sender was asked to take part, whatever name the message itself gives."""
        if node not in self._done:
            return
        match message:
            case Batch():
                self._take_batch(message, node)
            case Ready():
                self._recording.processes[self._name_of(node)].about = about_worker(message)
            case Done():
                self._done[node] = True
                if self._runner.state in _UNDER_WAY:
                    self._early.append(self._name_of(node))
            case Refused():
                self._done[node] = True
                self._refused(self._name_of(node), messages.cleaned(message.reason))

    def watch(self) -> None:
        """Say when a worker is out of reach, and when it is back. Never returns."""
        ticked, heard_of = time.monotonic(), self._runner.server.door.heard_of
        before = heard_of.copy()
        while True:
            gevent.sleep(_TICK)
            now = time.monotonic()
            passed, ticked = min(now - ticked, 2 * _TICK), now  # a stop of this process is no silence of the workers
            for node in [node for node, done in self._done.items() if not done]:
                if heard_of[node] == before[node]:
                    self._is_silent(node, self._silent.get(node, 0.0) + passed)
                else:
                    self._is_back(node, self._silent.pop(node, 0.0))
            before = heard_of.copy()

    def _is_silent(self, node: str, seconds: float) -> None:
        if self._silent.get(node, 0.0) < _AWAY <= seconds:
            say(
                f"streamgauge: nothing has come from {self._name_of(node)} for {_AWAY:g} s; if only its connection is "
                f"down, it goes on, and sends what it keeps once it is back"
            )
        self._silent[node] = seconds

    def _is_back(self, node: str, seconds: float) -> None:
        if seconds >= _AWAY:
            self._recording.processes[self._name_of(node)].silent_seconds += seconds
            say(f"streamgauge: {self._name_of(node)} is back after {seconds:.0f} s, and sends what it kept")

    def finish(self) -> None:
        """Collect the workers' last batches. Marks each lost worker: the streams that it had not sent are lost too."""
        for node in self._done.keys() & self._runner.clients.keys():
            messages.send(self._runner, FinishRun(), node)
        now = time.monotonic()
        give_up_at = now + _LAST_BATCHES + (self._environment.stop_timeout or 0)
        alive_at = dict.fromkeys(self._done, now)  # by node id: when Locust last knew the worker to be connected
        while now < give_up_at and any(
            not done and now < alive_at[node] + _AFTER_SIGN_OFF for node, done in self._done.items()
        ):
            gevent.sleep(0.05)
            now = time.monotonic()
            alive_at |= dict.fromkeys(self._done.keys() & set(connected(self._runner)), now)
        here = self._runner.server.door.shares_machine
        for process in (
            self._recording.processes[self._name_of(node)] for node, done in self._done.items() if not done
        ):
            process.lost, process.alone = True, 0.0 if here else _ALONE

    @property
    def all_left(self) -> bool:
        """Whether no worker stayed until the end of the run: then its load ended before it."""
        names = {self._name_of(node) for node in self._done}
        return all(name in self._early or self._recording.processes[name].lost for name in names)

    def finished_early(self) -> list[str]:
        """Notes on the workers that finished while the run went on."""
        self._recording.early = set(self._early)
        return [f"{worker} finished early; all that it had seen is stored" for worker in self._early]

    def _send_order(self, node: str) -> None:
        self._done[node] = False
        messages.send(self._runner, self._order(node), node)

    def _take_batch(self, batch: Batch, node: str) -> None:
        """Store the batch if it is the next one. Drops a repeated one; after a gap, the worker sends all again.

        A batch with rows of another worker, or with rows that nothing could read, is dropped whole.
        """
        name = self._name_of(node)
        if batch.worker != name or any(seen.worker != name for seen in batch.streams):
            return
        if fault := fault_of(batch.streams, rows_of(batch)):
            self._say_once(node, f"{name} sent what cannot be read, and is not stored: {messages.cleaned(fault)}")
            return
        if batch.number == self._taken.get(node, 0) + 1 and not self._recording.full:
            self._taken[node] = batch.number
            self._recording.keep(batch, partial(self._acknowledge, batch, node))
        else:
            self._send_stored(batch.run, node, missed=batch.number > self._taken.get(node, 0))

    def _say_once(self, node: str, line: str) -> None:
        if node not in self._warned:
            self._warned.add(node)
            say(f"streamgauge: {line}")

    def _acknowledge(self, batch: Batch, node: str) -> None:
        self._stored[node] = batch.number
        self._send_stored(batch.run, node)

    def _send_stored(self, run: str, node: str, *, missed: bool = False) -> None:
        messages.send(self._runner, Stored(run, self._stored.get(node, 0), missed), node)

    def _name_of(self, node: str) -> str:
        return f"worker-{self._runner.get_worker_index(node)}"


def quits_once(runner: MasterRunner) -> None:
    """Let only the first quit of a master wait for the workers' last figures.

    At the end of a run, Locust quits three times, one after another. Each takes half a second, also without workers.
    """
    quit_, over = runner.quit, False

    def once() -> None:
        nonlocal over
        if not over:
            quit_()
            over = True

    runner.quit = once


def connected(runner: MasterRunner) -> list[str]:
    """Node ids of the workers that Locust considers connected."""
    return [client.id for client in runner.clients.all if client.state != STATE_MISSING]
