"""A Locust worker: simulates users for a master, and sends it their streams in batches.

Each batch is kept until the master has stored it. A worker uses no database and gives no verdict.
"""

import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

import gevent
import msgspec
from gevent.event import Event
from gevent.pool import Group
from locust import argument_parser
from locust.env import Environment
from locust.exception import RPCError
from locust.runners import WorkerRunner

from streamgauge.harness.config.load import load
from streamgauge.harness.config.secrets import with_own_keys
from streamgauge.harness.drive.users import assign
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.interrupt import endings, leave_closed_terminal
from streamgauge.harness.record.clock import RunClock, clock_offset, realtime_offset
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import VitalSample
from streamgauge.harness.run import messages, user_classes
from streamgauge.harness.run.driving import Driving, machine, name_of
from streamgauge.harness.run.master_watch import MasterWatch
from streamgauge.harness.run.messages import (
    Batch,
    Done,
    FinishRun,
    Message,
    Ping,
    Pong,
    Ready,
    Refused,
    StartRun,
    Stored,
)
from streamgauge.harness.run.open_load import close, open_dispatcher
from streamgauge.harness.run.outbox import Outbox
from streamgauge.harness.run.terminal import interrupt_main, say

_LAST_BATCHES = 20.0  # seconds that a worker waits until its last batches are stored
_OVERTIME = 1.0  # seconds after the end of a run in which the master's message should come
_ROUNDS = 8  # pings in one comparison of the clock with the master's
_NO_ANSWER = 2.0  # seconds after which a ping is taken for lost
_COMPARE_EVERY = 60.0  # seconds between two comparisons, while there is no run


def _parse_options_once() -> None:
    """Have Locust parse its default options now, and only once.

    It does so for each option of each message that changes the number of users: some 0.3 s in which the loop stands
    still, every second while users are started.
    """
    argument_parser.default_args_dict = cache(argument_parser.default_args_dict)
    argument_parser.default_args_dict()


class Worker:
    """Listens to Locust and to the master for as long as the process lives."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        self._environment = environment
        self._runner = runner
        self._send = partial(_send, runner)
        self._run: _Participation | None = None  # the latest run; None before the first one
        self._finishing = Group()  # greenlets that send the last batches
        # See `clock_offset`. Ours are CLOCK_MONOTONIC, so that a step of our wall clock spoils no round.
        self._rounds: deque[tuple[int, int, int]] = deque(maxlen=_ROUNDS)
        self._answered = Event()  # the latest ping was
        self._config = environment.parsed_options.gauge_config  # Locust replaces this option by the master's
        self._alone = False  # the master is gone
        self._interrupted = False
        self._door = runner.client.door
        self._watch = MasterWatch(self._door, self._under_way, self._on_master_gone)
        for number in endings():
            if number != signal.SIGTERM:  # Locust's own
                gevent.signal_handler(number, self._on_interrupt)
        _parse_options_once()
        messages.listen(runner, StartRun, self._on_start)
        messages.listen(runner, Stored, self._on_stored)
        messages.listen(runner, Pong, self._on_pong)
        messages.listen(runner, FinishRun, self._on_finish, concurrent=True)
        gevent.spawn(self._compare_clocks)
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        environment.events.test_stop.add_listener(self._on_test_stop)
        environment.events.quitting.add_listener(self._on_quitting)

    def _on_start(self, start: StartRun, _node: str) -> None:
        if self._run is not None and self._run.id == start.run:
            open_dispatcher(self._environment, start.load)
            return
        assign(self._environment, None)
        # A stream's latencies need only this machine's clock. The offset of the two clocks places the stream on the
        # master's time axis.
        offset, doubt = self._offset()
        clock = RunClock.starting_at(start.realtime_ns + (offset or 0))
        try:
            target = with_own_keys(start.target, lambda: load(self._config).target)
            order = msgspec.structs.replace(start, target=target)
            self._run = _Participation(self._environment, self._runner, self._send, order, clock)
        except StreamgaugeError as fault:
            self._send(Refused(start.run, str(fault)))
            return
        if start.ends_at is not None:
            gevent.spawn_later((start.ends_at - clock.now()) / 1e9 + _OVERTIME, self._end, self._run)
        self._send(Ready(start.run, name_of(self._runner), machine(), offset, doubt))

    def _on_stored(self, stored: Stored, _node: str) -> None:
        if self._run is not None and self._run.id == stored.run:
            self._run.stored(stored)

    # Comparison with the master's clock.

    def _compare_clocks(self) -> None:
        while True:
            if self._run is None or self._run.over:
                for _ in range(_ROUNDS):  # one after another: a master that is busy answers many at once, and late
                    self._answered.clear()
                    self._send(Ping(time.monotonic_ns()))
                    self._answered.wait(_NO_ANSWER)
                self._door.compared = bool(self._rounds)
            if self._door.compared:
                gevent.sleep(_COMPARE_EVERY)

    def _on_pong(self, pong: Pong, _node: str) -> None:
        self._rounds.append((pong.asked, pong.answered, time.monotonic_ns()))
        self._answered.set()
        # Here, too: the greenlet that calls then goes on with the messages that were held.
        self._door.compared |= len(self._rounds) == _ROUNDS

    def _offset(self) -> tuple[int | None, int | None]:
        """As `clock_offset`, of the wall clocks; None if they were not compared."""
        if not self._rounds:
            return None, None
        wall = realtime_offset()
        return clock_offset((asked + wall, theirs, came + wall) for asked, theirs, came in self._rounds)

    # The end of a run.

    def _on_finish(self, _finish: FinishRun, _node: str) -> None:
        self._runner.stop()  # fires test_stop, unless the users have been stopped before

    def _end(self, run: "_Participation") -> None:
        """End a run whose time is over: the master's message has not come, perhaps since the connection is down."""
        if self._run is run and run.under_way:
            self._runner.stop()

    def _on_test_stopping(self, **_: Any) -> None:
        close(self._environment)
        if self._run is not None:
            self._run.let_users_go()

    def _on_test_stop(self, **_: Any) -> None:
        if self._run is None or self._run.over:
            return
        self._run.over = True
        # In a greenlet of its own: the calling greenlet may be the one that receives the master's acknowledgements,
        # or one that Locust kills when it ends.
        self._finishing.spawn(self._run.finish, lambda: self._watch.disconnected)

    def _under_way(self) -> bool:
        return self._run is not None and self._run.under_way

    def _on_interrupt(self) -> None:
        leave_closed_terminal()
        if not self._interrupted:  # the second Ctrl-C is for the master: this process ends with it
            self._interrupted = True
            interrupt_main()

    def _on_master_gone(self, how: str) -> None:
        if self._under_way():
            say(f"streamgauge: {how}: this worker stops its users, and ends")
        self._alone = True
        if self._run is not None and not self._watch.disconnected:  # the master may come back for what is not stored
            self._door.retired = True
            self._runner.stop()
            self._finishing.join()
        self._runner.quit()

    def _on_quitting(self, **_: Any) -> None:
        if self._run is not None and not self._run.over:  # Ctrl-C came before the master's message
            self._runner.stop()
        self._finishing.join()
        # Otherwise the master's exit code tells the verdict.
        self._environment.process_exit_code = Exit.MISTAKE if self._alone else Exit.MET


class _Participation:
    """This worker's part in one run."""

    def __init__(
        self,
        environment: Environment,
        runner: WorkerRunner,
        send: Callable[[Message], None],
        start: StartRun,
        clock: RunClock,
    ) -> None:
        """StreamgaugeError if the worker cannot take part."""
        self.id = start.run
        self.over = False  # the users have been stopped
        self._ending = False  # the users are being stopped
        self._runner = runner
        self._send = send
        self._outbox = Outbox(partial(_send_encoded, runner))
        self._connections = runner.client.door.connections  # that the outbox knows of
        self._driving = Driving(environment, runner, start, clock, self._deliver)
        user_classes.check(environment, start)
        self._driving.start()

    def _deliver(self, streams: list[StreamObservation], vitals: list[VitalSample]) -> None:
        number, begun = self._outbox.next_number, self._driving.begun
        batch = Batch(self.id, name_of(self._runner), number, streams, vitals, begun)
        self._outbox.put(messages.encode(batch), time.monotonic())
        self._notice_reconnect()
        self._hold_while_full()

    def stored(self, stored: Stored) -> None:
        now = time.monotonic()
        if stored.missed:
            self._outbox.not_taken(now)
        self._outbox.stored(stored.upto, now)
        self._hold_while_full()

    def _notice_reconnect(self) -> None:
        connections = self._runner.client.door.connections
        if connections != self._connections:
            self._connections = connections
            self._outbox.reconnected(time.monotonic())

    def _hold_while_full(self) -> None:
        if self._outbox.full and not self._ending:
            self._driving.recorder.hold()
        else:
            self._driving.recorder.release()

    @property
    def under_way(self) -> bool:
        """Whether its users run, and are not being stopped."""
        return not self.over and not self._ending

    def let_users_go(self) -> None:
        """Hold no user back from now on: Locust cannot stop a user that waits in the recorder."""
        self._ending = True
        self._driving.recorder.release()

    def finish(self, gone: Callable[[], bool]) -> None:
        """Send the last batches, wait until all are stored, then send `Done`: without it, the worker counts as lost.

        `gone`: whether there is no connection to the master, so that nothing can arrive.
        """
        self._driving.stop()
        give_up_at = time.monotonic() + _LAST_BATCHES
        # Once Locust's own greenlets have ended, no acknowledgement can arrive any more.
        while self._outbox and time.monotonic() < give_up_at and self._runner.greenlet and not gone():
            gevent.sleep(0.02)
            self._notice_reconnect()
            self._outbox.push(time.monotonic())
        if not self._outbox:
            self._send(Done(self.id))


def _send(runner: WorkerRunner, message: Message) -> None:
    with suppress(RPCError):  # Locust is reconnecting
        messages.send(runner, message)


def _send_encoded(runner: WorkerRunner, batch: bytes) -> None:
    with suppress(RPCError):  # the outbox sends it again
        messages.send_encoded(runner, Batch, batch)
