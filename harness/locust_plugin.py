"""Locust listeners: options, a run's life, worker → master batches, live numbers.

One process keeps the run (`_Keeper`: the local runner or the master): it owns the database, judges at the end and
decides the exit code. Workers (`_Worker`) drive users and send what they saw in batches. What the person at the
terminal did wrong ends Locust with one line and exit code 2.

The way of the messages, all of them Locust's own:
    master → worker   gauge_run (what to do, before the first user), gauge_finish (stop, and send what is left)
    worker → master   gauge_batch, gauge_done (nothing comes after it), gauge_refused (this worker cannot run it)
"""

import logging
import os
import platform
import secrets
import signal
import sys
import time
from collections import Counter, deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import locust
import msgspec
from locust.env import Environment
from locust.runners import STATE_MISSING, STATE_RUNNING, STATE_SPAWNING, LocalRunner, MasterRunner, Runner, WorkerRunner

from harness import __version__, config
from harness.clock import RunClock
from harness.config import Config
from harness.drive import wire
from harness.drive.clients import Site
from harness.drive.recorder import Batch, Recorder
from harness.drive.users import Assignment, StreamUser, assign
from harness.errors import ScenarioError, StoreError, StreamgaugeError, TargetError
from harness.judge import judgement, sla
from harness.judge.outputs import json, save, terminal
from harness.judge.store import Run, Status, Store
from harness.observation import FAILURES, Outcome, StreamObservation
from reports import page

_DRAIN = 20.0  # seconds that a master waits for its workers' last batches
_FAREWELL = 3.0  # seconds in which the last batch of a worker that Locust has signed off can still come
_PROGRESS_EVERY = 3.0  # seconds
_MOST_UNSAVED = 20  # batches that could not be stored, before the run is given up
_USER_ERROR = 2
_log = logging.getLogger("locust.streamgauge")


def register(events: Any) -> None:
    """Hook into Locust. Once for a process; `harness.scenario` does it."""
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_begin)


def _add_options(parser: Any) -> None:
    group = parser.add_argument_group("streamgauge")
    options: dict[str, dict[str, Any]] = {
        "--gauge-config": {"help": "target, SLA rules and limits (default: ./streamgauge.toml, if there is one)"},
        "--gauge-db": {"default": "streamgauge.db", "help": "the SQLite file that the run is added to (%(default)s)"},
        "--gauge-report": {"metavar": "HTML", "help": "write the report of the run to this file"},
        "--gauge-json": {"metavar": "FILE", "help": "write the result document of the run to this file"},
        "--gauge-seed": {"type": int, "default": 1, "help": "same seed, same work (default: %(default)s)"},
        "--gauge-label": {"action": "append", "metavar": "NAME=VALUE", "help": "kept with the run; may be repeated"},
        "--gauge-inconclusive": {
            "choices": ("pass", "fail"),
            "help": "exit with 0 or 1, instead of 3, when there was too little to judge",
        },
        "--gauge-progress": {
            "action": "store_true",
            "help": "a line of live numbers every few seconds, in place of Locust's tables",
        },
    }
    for option, keywords in options.items():
        group.add_argument(option, **keywords)


def _begin(environment: Environment, runner: Runner, **_: Any) -> None:
    """Locust's `init`: options are parsed, nobody runs yet."""
    try:
        if isinstance(runner, WorkerRunner):
            _Worker(environment, runner)
        else:
            _Keeper(environment, runner)
    except StreamgaugeError as fault:
        raise _user_error(fault) from None


def _user_error(fault: StreamgaugeError) -> SystemExit:
    _say(f"streamgauge: {fault}")
    return SystemExit(_USER_ERROR)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class _Keeper:
    """The process that keeps the run. With a local runner it drives the users, too."""

    def __init__(self, environment: Environment, runner: LocalRunner | MasterRunner) -> None:
        options = environment.parsed_options
        self._environment = environment
        self._runner = runner
        self._options = options
        self._config = _load_config(options.gauge_config)
        self._labels = _labels(options.gauge_label or [])
        self._store: Store | None = None
        self._run: Run | None = None
        self._clock: RunClock | None = None
        self._recorder: Recorder | None = None
        self._live = _Live()
        self._progress: gevent.Greenlet | None = None
        self._workers: dict[str, bool] = {}  # those that were told of the run, and whether they are done with it
        self._facts: dict[str, Any] = {}  # for the run's record, learnt on the way
        self._notes: list[str] = []
        self._unsaved: list[tuple[str, Batch]] = []
        self._interrupted = False
        self._exit_code: int | None = None
        for user in environment.user_classes:
            if issubclass(user, StreamUser):
                user.check()
        for rule in self._config.sla:
            sla.parse(rule)
        config.headers(self._config.target)  # now, while it is still one line and not a run full of failures
        if options.headless or options.autostart:
            self._host()
        with Store.create(options.gauge_db):
            pass
        if options.gauge_progress:
            logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)
        if isinstance(runner, MasterRunner):
            runner.register_message("gauge_batch", self._on_batch)
            runner.register_message("gauge_done", self._on_done)
            runner.register_message("gauge_refused", self._on_refused)
            environment.events.worker_connect.add_listener(self._on_worker_connect)
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.test_stop.add_listener(self._on_test_stop)
        environment.events.quitting.add_listener(self._on_quitting)
        gevent.signal_handler(signal.SIGINT, self._on_sigint)

    # a run's life

    def _on_test_start(self, **_: Any) -> None:
        assign(self._environment, None)
        try:
            self._start()
        except StreamgaugeError as fault:  # in the web UI the host can be wrong now, too
            _log.error("%s", fault)
            self._exit_code = _USER_ERROR

    def _start(self) -> None:
        host = self._host()
        now = time.time_ns()
        self._clock = RunClock.starting_at(now)
        scenario = Path((self._environment.parsed_locustfiles or ["scenario"])[0]).stem
        started = datetime.fromtimestamp(now / 1e9, UTC)
        site = Site.of(host, self._config.target, self._clock)
        self._run = Run(
            id=f"{scenario}-{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
            scenario=scenario,
            host=host,
            started_at=started.isoformat(timespec="milliseconds"),
            realtime_ns=now,
            config=config.public(self._config.target),
            rules=self._config.sla,
            fingerprint=self._fingerprint(scenario),
            labels=self._labels,
            instrument=_instrument(),
        )
        self._store = Store.create(self._options.gauge_db)
        self._store.start_run(self._run)
        self._live = _Live()
        self._notes, self._facts, self._workers, self._unsaved = [], {}, {}, []
        self._interrupted, self._exit_code = False, None
        if isinstance(self._runner, MasterRunner):
            for client in self._runner.clients.all:
                self._tell(client.id)
        else:
            self._recorder = _drive(self._environment, self._runner, site, self._order(), self._deliver)
        if self._options.gauge_progress:
            self._progress = gevent.spawn(self._show_progress)

    def _on_test_stop(self, **_: Any) -> None:
        if self._run is None:
            return
        try:
            self._finish()
        except StreamgaugeError as fault:
            _say(f"streamgauge: {fault}")
            self._exit_code = _USER_ERROR

    def _finish(self) -> None:
        """The run is over: take in the last batches, close the record, judge, tell."""
        assert self._run is not None
        assert self._clock is not None
        assert self._store is not None
        ended = self._clock.now()
        if self._recorder is not None:
            _stop(self._recorder, self._runner)
            self._recorder = None
        self._drain()
        if self._progress is not None:
            self._progress.kill()
        drift = self._clock.drift()
        self._facts["clock_drift_ns"] = max(drift, self._facts.get("clock_drift_ns", 0), key=abs)
        if self._unsaved:
            self._notes.append(f"{sum(len(batch.streams) for _, batch in self._unsaved)} streams could not be stored")
        if self._runner.exceptions:
            self._exit_code = _USER_ERROR
            raised = next(iter(self._runner.exceptions.values()))["msg"]
            self._notes.append(f"the scenario's own code raised: {raised[:200]}")
        run, self._run = self._run, None
        status: Status = "interrupted" if self._interrupted else "finished"
        with self._store as store:
            store.finish_run(run.id, ended_ns=ended, status=status, instrument=self._facts, notes=self._notes)
            judged = judgement.judge(store, run.id)
            if self._exit_code is None:
                self._exit_code = judgement.exit_code(judged, self._options.gauge_inconclusive)
            terminal.render(judged)
            if self._options.gauge_json:
                save(json.render(judged), self._options.gauge_json)
            if self._options.gauge_report:
                save(page.render(store, judged), self._options.gauge_report)
        _say(f"run {run.id} is in {self._options.gauge_db}")

    def _on_quitting(self, **_: Any) -> None:
        if self._run is not None:  # Ctrl-C or SIGTERM in the middle of it
            self._interrupted = True
            self._runner.stop()
        if self._exit_code is not None:
            self._environment.process_exit_code = self._exit_code

    def _on_sigint(self) -> None:
        self._interrupted = True  # Locust ends a shaped run on Ctrl-C as if it were over
        _interrupt_main()

    # what comes in

    def _deliver(self, batch: Batch, worker: str = "local") -> None:
        """Store a batch. What a full disk or a locked file keeps out is tried again with the next one."""
        if self._run is None or self._store is None:
            return
        self._live.see(batch.streams)
        self._unsaved.append((worker, batch))
        try:
            while self._unsaved:
                worker, batch = self._unsaved[0]
                self._store.append(self._run.id, batch.streams)
                self._store.append_samples(self._run.id, [(worker, *reading) for reading in batch.readings])
                self._unsaved.pop(0)
        except StoreError as fault:
            if len(self._unsaved) == _MOST_UNSAVED:  # it will not get better: end the run while all of it is known
                _say(f"streamgauge: {fault}; the run is ended")
                self._exit_code = _USER_ERROR
                gevent.spawn(self._runner.quit if self._options.headless else self._runner.stop)

    def _on_batch(self, msg: Any, **_: Any) -> None:
        if self._run is not None and msg.data["run"] == self._run.id:
            self._deliver(_unpack(msg.data["batch"]), msg.data["worker"])

    def _on_done(self, msg: Any, **_: Any) -> None:
        if self._run is not None and msg.data["run"] == self._run.id:
            self._workers[msg.node_id] = True
            self._facts["clock_drift_ns"] = max(msg.data["drift"], self._facts.get("clock_drift_ns", 0), key=abs)

    def _on_refused(self, msg: Any, **_: Any) -> None:
        _say(f"streamgauge: worker {msg.node_id}: {msg.data['reason']}")
        self._notes.append(f"worker {msg.node_id} could not take part: {msg.data['reason']}")
        self._workers[msg.node_id] = True
        self._exit_code = _USER_ERROR
        gevent.spawn(self._runner.quit if self._options.headless else self._runner.stop)

    # workers

    def _order(self) -> dict[str, Any]:
        """What a process must know to take part in the run."""
        assert self._run is not None
        return {
            "run": self._run.id,
            "scenario": self._run.scenario,
            "host": self._run.host,
            "realtime_ns": self._run.realtime_ns,
            "seed": self._options.gauge_seed,
            "target": config.encode_target(self._config.target),
        }

    def _tell(self, node: str) -> None:
        self._workers[node] = False
        self._runner.send_message("gauge_run", self._order(), node)

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        if self._run is not None and self._runner.state in {
            STATE_SPAWNING,
            STATE_RUNNING,
        }:  # it came late, or came back
            self._tell(client_id)

    def _drain(self) -> None:
        """Wait for what the workers still hold. One that is gone is noted: what it had not sent is lost."""
        if not isinstance(self._runner, MasterRunner):
            return
        for node in self._workers.keys() & self._runner.clients.keys():
            self._runner.send_message("gauge_finish", None, node)
        now = time.monotonic()
        give_up_at = now + _DRAIN + (self._environment.stop_timeout or 0)
        there_at = dict.fromkeys(self._workers, now)  # when each was last known to live
        while now < give_up_at and any(
            not done and now < there_at[node] + _FAREWELL for node, done in self._workers.items()
        ):
            gevent.sleep(0.05)
            now = time.monotonic()
            there = {client.id for client in self._runner.clients.all if client.state != STATE_MISSING}
            there_at |= dict.fromkeys(there & self._workers.keys(), now)
        lost = sorted(node for node, done in self._workers.items() if not done)
        self._notes += [f"worker {node} was lost, and with it what it had not sent" for node in lost]

    # facts

    def _host(self) -> str:
        """The target's URL, known to resolve. TargetError otherwise."""
        hosts = {self._environment.host or user.host for user in self._environment.user_classes} - {None}
        if not hosts:
            raise TargetError("no host to test: give one with -H, as in -H https://staging.example")
        if len(hosts) > 1:
            raise TargetError(f"one run has one host; the user classes name {', '.join(sorted(hosts))}: choose with -H")
        host: str = hosts.pop()
        wire.Endpoint.of(host).resolve()
        return host

    def _fingerprint(self, scenario: str) -> dict[str, Any]:
        target, options = self._config.target, self._options
        shape = self._environment.shape_class
        return {
            "scenario": scenario,
            "users": {
                user.__name__: {**user.traits(), "weight": user.weight, "fixed_count": user.fixed_count}
                for user in sorted(self._environment.user_classes, key=lambda user: str(user.__name__))
                if issubclass(user, StreamUser)
            },
            "load": type(shape).__name__ if shape else {"users": options.num_users, "spawn_rate": options.spawn_rate},
            "run_time": options.run_time,
            "protocol": target.protocol,
            "model": target.model,
            "max_tokens": target.max_tokens,
            "seed": options.gauge_seed,
        }

    def _show_progress(self) -> None:
        assert self._clock is not None
        while True:
            gevent.sleep(_PROGRESS_EVERY)
            _say(self._live.line(self._clock.now() // 1_000_000_000, self._runner.user_count))


class _Worker:
    """A process that drives users for a master elsewhere."""

    def __init__(self, environment: Environment, runner: WorkerRunner) -> None:
        self._environment = environment
        self._runner = runner
        self._recorder: Recorder | None = None
        self._run = ""
        self._clock: RunClock | None = None
        gevent.signal_handler(signal.SIGINT, _interrupt_main)
        runner.register_message("gauge_run", self._on_run)
        runner.register_message("gauge_finish", self._on_finish, concurrent=True)
        environment.events.test_stop.add_listener(self._on_test_stop)
        environment.events.quitting.add_listener(self._on_quitting)

    def _on_run(self, msg: Any, **_: Any) -> None:
        order = msg.data
        assign(self._environment, None)
        self._run = order["run"]
        self._clock = RunClock.starting_at(order["realtime_ns"])
        try:
            site = Site.of(order["host"], config.decode_target(order["target"]), self._clock)
        except StreamgaugeError as fault:
            self._runner.send_message("gauge_refused", {"run": self._run, "reason": str(fault)})
            return
        self._recorder = _drive(self._environment, self._runner, site, order, self._deliver)

    def _deliver(self, batch: Batch) -> None:
        data = {"run": self._run, "worker": _name(self._runner), "batch": _pack(batch)}
        self._runner.send_message("gauge_batch", data)

    def _on_finish(self, **_: Any) -> None:
        self._runner.stop()  # fires test_stop, unless the users have been stopped before

    def _on_test_stop(self, **_: Any) -> None:
        if self._recorder is None or self._clock is None:
            return
        recorder, self._recorder = self._recorder, None
        _stop(recorder, self._runner)
        self._runner.send_message("gauge_done", {"run": self._run, "drift": self._clock.drift()})

    def _on_quitting(self, **_: Any) -> None:
        if self._recorder is not None:  # Ctrl-C reached us before the master's word did
            self._runner.stop()
        self._environment.process_exit_code = 0  # the verdict is the master's


def _interrupt_main() -> None:
    """Ctrl-C for Locust's main greenlet, without the traceback that gevent prints when it strikes another."""
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())


def _drive(environment: Environment, runner: Any, site: Site, order: dict[str, Any], deliver: Any) -> Recorder:
    """Give this process's users their run, and begin to record."""
    assignment = Assignment(
        scenario=order["scenario"], seed=order["seed"], worker=_name(runner), site=site, record=lambda _: None
    )
    gauges = {"users": lambda: runner.user_count, "active_streams": lambda: assignment.active}
    recorder = Recorder(site.clock, gauges, deliver)
    assignment.record = recorder.record
    assign(environment, assignment)
    recorder.start()
    return recorder


def _stop(recorder: Recorder, runner: Any) -> None:
    """Two stops at once (Ctrl-C and the master's word) let the second one pass while users still die: see them out."""
    runner.user_greenlets.kill()
    recorder.stop()


def _name(runner: Any) -> str:
    return f"worker-{runner.worker_index}" if isinstance(runner, WorkerRunner) else "local"


def _pack(batch: Batch) -> bytes:
    return msgspec.msgpack.encode(batch)


def _unpack(data: bytes) -> Batch:
    return msgspec.msgpack.decode(data, type=Batch)


class _Live:
    """Numbers while a run goes on: rough, recent, and never judged by."""

    def __init__(self) -> None:
        self._outcomes: Counter[Outcome] = Counter()
        self._ttft: deque[float] = deque(maxlen=500)  # ms, of the latest streams

    def see(self, streams: list[StreamObservation]) -> None:
        for seen in streams:
            self._outcomes[seen.outcome] += 1
            if seen.first_content_at is not None:
                self._ttft.append((seen.first_content_at - seen.due_at) / 1e6)

    def line(self, seconds: int, users: int) -> str:
        latest = sorted(self._ttft)
        ttft = "–"
        if latest:
            ttft = f"p50 {latest[len(latest) // 2]:,.0f} ms, p95 {latest[int(len(latest) * 0.95)]:,.0f} ms"
        failed = sum(self._outcomes[outcome] for outcome in FAILURES)
        return (
            f"{seconds // 60:3d}:{seconds % 60:02d}  {users:,} users  {self._outcomes.total():,} streams: "
            f"{self._outcomes[Outcome.COMPLETED]:,} completed, {self._outcomes[Outcome.CANCELLED]:,} left, "
            f"{failed:,} failed  TTFT {ttft}"
        )


def _load_config(path: str | None) -> Config:
    if path is not None:
        return config.load(path)
    return config.load("streamgauge.toml") if Path("streamgauge.toml").is_file() else Config()


def _labels(given: list[str]) -> dict[str, str]:
    for label in given:
        if not label.partition("=")[0] or "=" not in label:
            raise ScenarioError(f"--gauge-label {label!r}: write it as NAME=VALUE")
    return dict(label.split("=", 1) for label in given)


def _instrument() -> dict[str, Any]:
    return {
        "stamps": "kernel" if wire.kernel_stamps() else "python",
        "streamgauge": __version__,
        "locust": locust.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }
