"""A process that drives users, whether for itself or for a master elsewhere: what both kinds do, and the worker.

A worker sends what it saw in batches, each kept until the master has said that it is stored; how the two speak is told
in `locust_plugin`. It knows neither database nor verdict.
"""

import os
import platform
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
import msgspec
from locust.env import Environment
from locust.exception import RPCError
from locust.runners import WorkerRunner

from streamgauge.harness.config.encoding import decode_networks, decode_target
from streamgauge.harness.drive.clients import Site
from streamgauge.harness.drive.recorder import Batch, Outbox, Recorder
from streamgauge.harness.drive.users import Assignment, StreamUser, assign
from streamgauge.harness.drive.wire.stamps import kernel_stamps
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.native import library
from streamgauge.harness.record.clock import RunClock, clock_offset
from streamgauge.harness.record.vitals import Vital
from streamgauge.harness.run.open_load import close, let_in, turnstile

_DRAIN = 20.0  # seconds that a worker tries to get its last batches stored
_ROUNDS = 8  # pings by which a worker compares its clock with the master's
_COMPARE_EVERY = 60.0  # seconds, while no run is on


class Worker:
    """A process that drives users for a master elsewhere."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        self._environment = environment
        self._runner = runner
        self._recorder: Recorder | None = None
        self._run = ""
        self._outbox = Outbox(self._send)
        self._rounds: deque[tuple[int, int, int]] = deque(maxlen=_ROUNDS)  # see `clock_offset`; CLOCK_REALTIME ns
        self._farewell: gevent.Greenlet | None = None
        gevent.signal_handler(signal.SIGINT, interrupt_main)
        runner.register_message("gauge_run", self._on_run)
        runner.register_message("gauge_stored", self._on_stored)
        runner.register_message("gauge_pong", self._on_pong)
        runner.register_message("gauge_finish", self._on_finish, concurrent=True)
        gevent.spawn(self._compare_clocks)
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        environment.events.test_stop.add_listener(self._on_test_stop)
        environment.events.quitting.add_listener(self._on_quitting)

    def _on_run(self, msg: Any, **_: Any) -> None:
        order = msg.data
        if self._recorder is not None and order["run"] == self._run:
            let_in(self._environment, order["load"])
            return  # told again: when an open load begins, or since the connection was away for a moment
        assign(self._environment, None)
        self._run = order["run"]
        # Due times and arrivals are differences on this machine. Only their place on the master's time axis needs to
        # know how far apart the two clocks are; unmeasured, for a worker that came in the middle, they count as equal.
        offset, doubt = clock_offset(self._rounds) if self._rounds else (None, None)
        clock = RunClock.starting_at(order["realtime_ns"] + (offset or 0))
        try:
            site = Site.of(order["host"], decode_target(order["target"]), clock)
            self._outbox = Outbox(self._send)
            self._recorder = drive(self._environment, self._runner, site, order, self._deliver)
        except StreamgaugeError as fault:
            self._tell("gauge_refused", {"run": self._run, "reason": str(fault)})
            return
        where = machine() | {"clock_offset_ns": offset, "clock_doubt_ns": doubt}
        self._tell("gauge_ready", {"run": self._run, "worker": name(self._runner), "machine": where})

    # batches

    def _deliver(self, batch: Batch) -> None:
        self._outbox.put(pack(batch), time.monotonic())
        self._hold()

    def _send(self, number: int, packed: bytes) -> None:
        self._tell("gauge_batch", {"run": self._run, "worker": name(self._runner), "number": number, "batch": packed})

    def _on_stored(self, msg: Any, **_: Any) -> None:
        if msg.data["run"] == self._run:
            self._outbox.stored(msg.data["upto"], time.monotonic())
            self._hold()

    def _hold(self) -> None:
        if self._recorder is not None:
            self._recorder.hold(self._outbox.full)

    def _tell(self, message: str, data: Any) -> None:
        with suppress(RPCError):  # the connection is being made anew; what matters is sent again
            self._runner.send_message(message, data)

    # the master's clock

    def _compare_clocks(self) -> None:
        while True:
            if self._recorder is None:
                for _ in range(_ROUNDS):
                    self._tell("gauge_ping", time.time_ns())
                    gevent.sleep(0.02)
            gevent.sleep(_COMPARE_EVERY)

    def _on_pong(self, msg: Any, **_: Any) -> None:
        self._rounds.append((msg.data["asked"], msg.data["answered"], time.time_ns()))

    # the end

    def _on_finish(self, **_: Any) -> None:
        self._runner.stop()  # fires test_stop, unless the users have been stopped before

    def _on_test_stopping(self, **_: Any) -> None:
        close(self._environment)
        if self._recorder is not None:
            self._recorder.hold(False)  # a user that waits for room could not be stopped

    def _on_test_stop(self, **_: Any) -> None:
        if self._recorder is None:
            return
        # Not here: this may be the greenlet that takes the master's words in, or one that Locust's end kills.
        self._farewell = gevent.spawn(self._see_off, self._run, self._recorder, self._outbox)
        self._recorder = None

    def _see_off(self, run: str, recorder: Recorder, outbox: Outbox) -> None:
        """Send the rest, wait until all is stored, and say so. Silence tells the master that something is lost."""
        stop(recorder, self._runner)
        give_up_at = time.monotonic() + _DRAIN
        # When Locust's own greenlets are gone, no word of the master's will come any more.
        while outbox and time.monotonic() < give_up_at and self._runner.greenlet:
            gevent.sleep(0.02)
            outbox.push(time.monotonic())
        if not outbox:
            self._tell("gauge_done", {"run": run})

    def _on_quitting(self, **_: Any) -> None:
        if self._recorder is not None:  # Ctrl-C reached us before the master's word did
            self._runner.stop()
        if self._farewell is not None:
            self._farewell.join()
        self._environment.process_exit_code = Exit.MET  # the verdict is the master's


def interrupt_main() -> None:
    """Ctrl-C for Locust's main greenlet, without the traceback that gevent prints when it strikes another."""
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


def drive(environment: Environment, runner: Any, site: Site, order: dict[str, Any], deliver: Any) -> Recorder:
    """Give this process's users their run, and begin to record."""
    networks = decode_networks(order["networks"])
    for user in environment.user_classes:
        user.client = order["client"] or user.client
        if issubclass(user, StreamUser):
            user.check(site.target, networks)  # imports its client now, and not in the middle of the run
    entrance = turnstile(environment, order["load"], order["seed"])
    assignment = Assignment(
        scenario=order["scenario"],
        seed=order["seed"],
        worker=name(runner),
        site=site,
        record=lambda _: None,
        networks=networks,
        turnstile=entrance,
    )
    gauges: dict[Vital, Callable[[], float]] = {
        Vital.USERS: lambda: runner.user_count,
        Vital.ACTIVE_STREAMS: lambda: assignment.active,
        Vital.STREAMS_BEGUN: lambda: assignment.streams,
    }
    if entrance is not None:
        gauges |= {Vital.ARRIVALS: lambda: entrance.arrivals, Vital.DROPPED_ARRIVALS: lambda: entrance.dropped}
    recorder = Recorder(site.clock, gauges, deliver)
    assignment.record = recorder.record
    assign(environment, assignment)
    recorder.start()
    return recorder


def stop(recorder: Recorder, runner: Any) -> None:
    """Two stops at once (Ctrl-C and the master's word) let the second one pass while users still die: see them out."""
    runner.user_greenlets.kill()
    recorder.stop()


def name(runner: Any) -> str:
    return f"worker-{runner.worker_index}" if isinstance(runner, WorkerRunner) else "local"


def pack(batch: Batch) -> bytes:
    return msgspec.msgpack.encode(batch)


def unpack(data: bytes) -> Batch:
    return msgspec.msgpack.decode(data, type=Batch)


def machine() -> dict[str, Any]:
    """Where a process drives users, for its summary."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "stamps": "kernel" if kernel_stamps() else "python",
        "reader": "compiled" if library.LIBRARY else "python",
    }
