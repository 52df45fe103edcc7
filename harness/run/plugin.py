"""Locust listeners: options, a run's life, worker → master batches, live numbers.

One process keeps the run (`_Keeper`: the local runner or the master): it owns the database, judges at the end and
decides the exit code. Workers (`locust_worker`) drive users and send what they saw in batches. What the person at the
terminal did wrong ends Locust with one line and exit code 2.

The way of the messages, all of them Locust's own:
    master → worker   gauge_run (what to do, before the first user), gauge_stored (batches that are in the database),
                      gauge_pong, gauge_finish (stop, and send what is left)
    worker → master   gauge_ready (taking part, and on which machine), gauge_batch, gauge_done (nothing comes after it),
                      gauge_refused (this worker cannot run it), gauge_ping (what time have you?)
"""

import hashlib
import logging
import os
import platform
import secrets
import signal
import sys
import time
from collections import Counter, deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gevent
import locust
import msgspec
from locust.env import Environment
from locust.runners import STATE_MISSING, STATE_RUNNING, STATE_SPAWNING, LocalRunner, MasterRunner, Runner, WorkerRunner

from streamgauge import __version__
from streamgauge.harness.calibration import resolution
from streamgauge.harness.config.encoding import encode_networks, encode_target
from streamgauge.harness.config.load import load
from streamgauge.harness.config.secrets import filled_headers, filled_metrics, public
from streamgauge.harness.drive.clients import CLIENTS, Site
from streamgauge.harness.drive.recorder import Batch, Recorder
from streamgauge.harness.drive.server_metrics import Watch
from streamgauge.harness.drive.users import StreamUser, assign
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.drive.wire.stamps import kernel_stamps
from streamgauge.harness.errors import ScenarioError, StoreError, StreamgaugeError, TargetError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import dispatch, save
from streamgauge.harness.judge.store import Run, Status, Store
from streamgauge.harness.judge.verdict import judgement
from streamgauge.harness.judge.verdict.abort import AbortRules
from streamgauge.harness.judge.verdict.rules import parse_all
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.idleness import WATCHED
from streamgauge.harness.record.observation import FAILURES, Outcome, StreamObservation
from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run.open_load import OpenLoad, close, let_in
from streamgauge.harness.run.worker import Worker, drive, interrupt_main, machine, stop, unpack
from streamgauge.reports import page
from streamgauge.reports.material import gather

_DRAIN = 20.0  # seconds that a master waits for its workers' last batches
_FAREWELL = 3.0  # seconds in which the last batch of a worker that Locust has signed off can still come
_PROGRESS_EVERY = 3.0  # seconds
_LOOK_EVERY = 1.0  # seconds, for a rule that ends a run
_MOST_REFUSED = 20  # times in a row that a batch could not be stored, before the run is given up
_UNDER_WAY = {STATE_SPAWNING, STATE_RUNNING}  # not before the users begin, nor when they are being stopped
_log = logging.getLogger("locust.streamgauge")


def register(events: Any) -> None:
    """Hook into Locust. Once for a process; `streamgauge.scenario` does it."""
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_begin)


def _add_options(parser: Any) -> None:
    group = parser.add_argument_group("streamgauge")
    options: dict[str, dict[str, Any]] = {
        "--gauge-config": {"help": "target, SLA rules and limits (default: ./streamgauge.toml, if there is one)"},
        "--gauge-db": {"default": "streamgauge.db", "help": "the SQLite file that the run is added to (%(default)s)"},
        "--gauge-report": {"metavar": "HTML", "help": "write the report of the run to this file"},
        "--gauge-json": {"metavar": "FILE", "help": "write the result document of the run to this file"},
        "--gauge-output": {
            "action": "append",
            "metavar": "KIND=FILE",
            "help": f"tell the result to CI, too: {', '.join(dispatch.KINDS)} as KIND=FILE, or github; may be repeated",
        },
        "--gauge-client": {
            "metavar": "NAME",
            "help": f"what every user has on the socket, in place of what its class says: {', '.join(CLIENTS)}",
        },
        "--gauge-arrivals": {
            "metavar": "SCHEDULE",
            "help": "an open load, in place of the config's: constant or poisson, with --gauge-rate, or file:PATH",
        },
        "--gauge-rate": {"type": float, "metavar": "PER_SECOND", "help": "arrivals a second of an open load"},
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
            Worker(environment, runner)
        else:
            _Keeper(environment, runner)
            gevent.get_hub().loop.update_now()  # its timers, --run-time's too, would count from before all of this
    except StreamgaugeError as fault:
        raise _user_error(fault) from None


def _user_error(fault: StreamgaugeError) -> SystemExit:
    _say(f"streamgauge: {fault}")
    return SystemExit(Exit.MISTAKE)


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
        self._config = load(options.gauge_config)
        self._labels = _labels(options.gauge_label or [])
        self._load = OpenLoad(self._config.load, environment, self._config.target.timeouts.total / 1e9)
        self._outputs = dispatch.requested(options.gauge_output or [], options.gauge_json)
        self._store: Store | None = None
        self._run: Run | None = None
        self._clock: RunClock | None = None
        self._recorder: Recorder | None = None
        self._watch: Watch | None = None  # of the server's own counters
        self._watched: list[VitalSample] = []  # of these, what is not stored yet
        self._live = _Live()
        self._beside: list[gevent.Greenlet] = []  # what goes on for as long as the run does
        self._workers: dict[str, bool] = {}  # those that were told of the run, and whether they are done with it
        self._stored: dict[str, int] = {}  # the number of each worker's last batch in the database
        self._health: dict[str, dict[str, Any]] = {}  # of each process that drives users, by its name
        self._left: list[str] = []  # workers that were told to end while the run went on
        self._held: Counter[str] = Counter()  # seconds that a process held new streams back
        self._notes: list[str] = []
        self._unsaved: list[Batch] = []  # of our own users
        self._refused = 0  # times in a row that a batch could not be stored
        self._interrupted = False
        self._aborted: str | None = None  # by which rule
        self._exit_code: int | None = None
        for user in environment.user_classes:
            if issubclass(user, StreamUser):
                user.client = options.gauge_client or user.client
                user.check(self._config.target, self._config.networks)
        self._rules = parse_all(self._config.sla)
        filled_headers(self._config.target)  # now, while it is still one line and not a run full of failures
        filled_metrics(self._config.target)
        if options.headless or options.autostart:
            self._host()
        with Store.create(options.gauge_db):
            pass
        if options.gauge_progress:
            logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)
        if isinstance(runner, MasterRunner):
            self._listen(runner)
            environment.events.worker_connect.add_listener(self._on_worker_connect)
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.spawning_complete.add_listener(self._on_spawning_complete)
        environment.events.test_stopping.add_listener(close)
        environment.events.test_stop.add_listener(self._on_test_stop)
        environment.events.quitting.add_listener(self._on_quitting)
        gevent.signal_handler(signal.SIGINT, self._on_sigint)

    def _listen(self, runner: MasterRunner) -> None:
        runner.register_message("gauge_batch", self._on_batch)
        runner.register_message("gauge_done", self._on_done)
        runner.register_message("gauge_ready", self._on_ready)
        runner.register_message("gauge_ping", self._on_ping)
        runner.register_message("gauge_refused", self._on_refused)

    # a run's life

    def _on_test_start(self, **_: Any) -> None:
        assign(self._environment, None)
        try:
            self._start()
        except StreamgaugeError as fault:  # in the web UI the host can be wrong now, too
            _log.error("%s", fault)
            self._exit_code = Exit.MISTAKE

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
            config={**public(self._config.target), "reader": msgspec.structs.asdict(self._config.reader)},
            rules=self._config.sla,
            fingerprint=self._fingerprint(scenario),
            labels=self._labels,
            instrument=_instrument(),
        )
        self._store = Store.create(self._options.gauge_db)
        self._store.start_run(self._run)
        self._live = _Live()
        self._notes, self._workers, self._stored, self._health = [], {}, {}, {}
        self._left, self._held, self._unsaved, self._refused = [], Counter(), [], 0
        self._interrupted, self._aborted, self._exit_code = False, None, None
        self._watched, self._watch = [], self._watching(host)
        if self._watch is not None:
            self._watch.start()
        if isinstance(self._runner, MasterRunner):
            clients = list(self._runner.clients.all)
            there = [client.id for client in clients if client.state != STATE_MISSING]
            self._load.divide(there)
            for client in clients:
                self._tell(client.id)
        else:
            self._health["local"] = machine()
            self._load.divide(["local"])
            self._recorder = drive(self._environment, self._runner, site, self._order("local"), self._deliver)
        self._beside = [gevent.spawn(self._show_progress)] if self._options.gauge_progress else []
        if any(rule.written.abort for rule in self._rules):
            self._beside.append(gevent.spawn(self._look_for_a_miss))

    def _on_spawning_complete(self, **_: Any) -> None:
        if self._run is None or self._clock is None or not self._load.begin(self._clock.now()):
            return
        for node in [node for node, done in self._workers.items() if not done]:
            self._tell(node)  # they know it all, but for when the schedule begins
        if isinstance(self._runner, LocalRunner):
            let_in(self._environment, self._load.order("local"))
        if self._load.ends_at is not None:
            self._beside.append(gevent.spawn(self._end_at, self._load.ends_at))

    def _on_test_stop(self, **_: Any) -> None:
        if self._run is None:
            return
        try:
            self._finish()
        except StreamgaugeError as fault:
            _say(f"streamgauge: {fault}")
            self._exit_code = Exit.MISTAKE

    def _finish(self) -> None:
        """The run is over: take in the last batches, close the record, judge, tell."""
        assert self._run is not None
        assert self._clock is not None
        assert self._store is not None
        ended = self._clock.now()
        if self._recorder is not None:
            stop(self._recorder, self._runner)
            self._recorder = None
        self._drain()
        gevent.killall(self._beside)
        if self._watch is not None:
            self._notes += self._watch.finish(0.0 if self._interrupted else WATCHED / 1e9)
            self._watch = None
        if self._unsaved:
            self._notes.append(f"{sum(len(batch.streams) for batch in self._unsaved)} streams could not be stored")
        if not self._interrupted:  # Ctrl-C can reach the workers before us
            self._notes += [f"{worker} left before the end, with all that it had seen stored" for worker in self._left]
        self._notes += [
            f"{worker} held new streams back for {seconds} s, until what it had sent was stored: "
            f"the load was less than asked for"
            for worker, seconds in self._held.items()
        ]
        if self._runner.exceptions:
            self._exit_code = Exit.MISTAKE
            raised = next(iter(self._runner.exceptions.values()))["msg"]
            self._notes.append(f"the scenario's own code raised: {raised[:200]}")
        run, self._run = self._run, None
        status: Status = "interrupted" if self._interrupted else "aborted" if self._aborted else "finished"
        with self._store as store:
            store.finish_run(run.id, ended_ns=ended, status=status, instrument=self._facts(), notes=self._notes)
            material = gather(store, run.id, self._rules)
            judged = material.judgement
            if self._exit_code is None:
                self._exit_code = judgement.exit_code(judged, self._options.gauge_inconclusive)
            dispatch.show(judged, self._outputs)
            if self._options.gauge_report:
                save(page.render(material), self._options.gauge_report)
        _say(f"run {run.id} is in {self._options.gauge_db}")

    def _end(self) -> None:
        """End the run, in a greenlet of its own: the one that asks may be among those that end with it."""
        gevent.spawn(self._runner.quit if self._options.headless else self._runner.stop)

    def _end_at(self, moment: int) -> None:
        assert self._clock is not None
        while (left := moment - self._clock.now()) > 0:  # a timer alone counts from when the loop last looked
            gevent.sleep(left / 1e9)
        self._end()

    def _look_for_a_miss(self) -> None:
        """End a run that has missed a rule with `abort`."""
        assert self._run is not None
        assert self._clock is not None
        assert self._store is not None
        rules, missed = AbortRules(self._rules, self._config.reader), None
        while self._aborted is None:
            gevent.sleep(_LOOK_EVERY)
            now = self._clock.now()
            with suppress(StoreError):  # the next look reads what this one could not
                missed = rules.check(self._store, self._run.id, now)
            if missed is not None:
                self._aborted = f"{missed.rule} was missed after {now / 1e9:,.0f} s: {missed.reason}"
                _say(f"streamgauge: {self._aborted}; the run is ended")
                self._end()

    def _on_quitting(self, **_: Any) -> None:
        if self._run is not None:  # Ctrl-C or SIGTERM in the middle of it
            self._interrupted = True
            self._runner.stop()
        if self._exit_code is not None:
            self._environment.process_exit_code = self._exit_code

    def _on_sigint(self) -> None:
        self._interrupted = True  # Locust ends a shaped run on Ctrl-C as if it were over
        interrupt_main()

    # what comes in

    def _watching(self, host: str) -> Watch | None:
        """Who asks the server itself, from this process alone. None where the config names no page to ask."""
        assert self._clock is not None
        page = filled_metrics(self._config.target)
        return None if page is None else Watch(self._config.target, page, host, self._clock, self._see)

    def _see(self, readings: list[VitalSample]) -> None:
        """Store what the server said of itself. What a locked file keeps out is tried again with the next."""
        self._watched += readings
        if self._run is not None and self._store is not None:
            with suppress(StoreError):
                self._store.append(self._run.id, [], [("target", *sample) for sample in self._watched])
                self._watched = []

    def _deliver(self, batch: Batch) -> None:
        """Store a batch of our own users. What a full disk or a locked file keeps out is tried again with the next."""
        self._unsaved.append(batch)
        while self._unsaved and self._keep("local", self._unsaved[0]):
            self._unsaved.pop(0)

    def _keep(self, worker: str, batch: Batch) -> bool:
        """Whether the batch is in the database now. One that is not has to come again."""
        if self._run is None or self._store is None:
            return False
        try:
            self._store.append(self._run.id, batch.streams, [(worker, *sample) for sample in batch.vitals])
        except StoreError as fault:
            self._refused += 1
            if self._refused == _MOST_REFUSED:  # it will not get better: end the run while all of it is known
                _say(f"streamgauge: {fault}; the run is ended")
                self._exit_code = Exit.MISTAKE
                self._end()
            return False
        self._refused = 0
        self._live.see(batch.streams)
        health = self._health.setdefault(worker, {})
        health["streams"] = health.get("streams", 0) + len(batch.streams)
        for sample in batch.vitals:
            if name := sample.vital.worst_as:
                health[name] = max(health.get(name, 0.0), sample.value, key=abs)
            elif sample.vital is Vital.HELD_STREAMS:
                self._held[worker] += 1
        return True

    def _on_batch(self, msg: Any, **_: Any) -> None:
        """Only the next one in order is taken: what came twice is dropped, and what a gap lost comes again with it."""
        if self._run is None or msg.data["run"] != self._run.id:
            return
        stored = self._stored.get(msg.node_id, 0)
        if msg.data["number"] == stored + 1 and self._keep(msg.data["worker"], unpack(msg.data["batch"])):
            stored = self._stored[msg.node_id] = stored + 1
        self._runner.send_message("gauge_stored", {"run": self._run.id, "upto": stored}, msg.node_id)

    def _on_ready(self, msg: Any, **_: Any) -> None:
        if self._run is not None and msg.data["run"] == self._run.id:
            self._health.setdefault(msg.data["worker"], {}).update(msg.data["machine"])

    def _on_ping(self, msg: Any, **_: Any) -> None:
        self._runner.send_message("gauge_pong", {"asked": msg.data, "answered": time.time_ns()}, msg.node_id)

    def _on_done(self, msg: Any, **_: Any) -> None:
        if self._run is not None and msg.data["run"] == self._run.id:
            self._workers[msg.node_id] = True
            if self._runner.state in _UNDER_WAY:
                self._left.append(self._name_of(msg.node_id))

    def _on_refused(self, msg: Any, **_: Any) -> None:
        name = self._name_of(msg.node_id)
        _say(f"streamgauge: {name}: {msg.data['reason']}")
        self._notes.append(f"{name} could not take part: {msg.data['reason']}")
        self._workers[msg.node_id] = True
        self._exit_code = Exit.MISTAKE
        self._end()

    # workers

    def _order(self, node: str) -> dict[str, Any]:
        """What a process must know to take part in the run."""
        assert self._run is not None
        return {
            "run": self._run.id,
            "scenario": self._run.scenario,
            "host": self._run.host,
            "realtime_ns": self._run.realtime_ns,
            "seed": self._options.gauge_seed,
            "client": self._options.gauge_client,
            "target": encode_target(self._config.target),
            "networks": encode_networks(self._config.networks),
            "load": self._load.order(node),
        }

    def _tell(self, node: str) -> None:
        self._workers[node] = False
        self._runner.send_message("gauge_run", self._order(node), node)

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        if self._run is not None and self._runner.state in _UNDER_WAY:  # it came late, or came back
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
        for name in sorted(self._name_of(node) for node, done in self._workers.items() if not done):
            health = self._health.get(name, {})
            begun = int(health.get("streams_begun", 0))  # as it had said when it was last heard of
            self._notes.append(
                f"{name} was lost, and with it what it had not sent: "
                f"at least {max(0, begun - health.get('streams', 0))} streams that it had begun"
            )

    def _name_of(self, node: str) -> str:
        return f"worker-{self._runner.get_worker_index(node)}"

    # facts

    def _facts(self) -> dict[str, Any]:
        """What was learnt of the instrument on the way, for the run's record."""
        assert self._clock is not None
        for health in self._health.values():
            health["clock_drift_ns"] = int(health.get("clock_drift_ns", 0))
            health.pop("streams_begun", None)  # the samples have it, second by second
        drifts = (self._clock.drift(), *(health["clock_drift_ns"] for health in self._health.values()))
        aborted = {"aborted": self._aborted} if self._aborted else {}
        return {"clock_drift_ns": max(drifts, key=abs), **aborted, "workers": dict(sorted(self._health.items()))}

    def _host(self) -> str:
        """The target's URL, known to resolve. TargetError otherwise."""
        hosts = {self._environment.host or user.host for user in self._environment.user_classes} - {None}
        if not hosts:
            raise TargetError("no host to test: give one with -H, as in -H https://staging.example")
        if len(hosts) > 1:
            raise TargetError(f"one run has one host; the user classes name {', '.join(sorted(hosts))}: choose with -H")
        host: str = hosts.pop()
        Endpoint.of(host).resolve()
        return host

    def _fingerprint(self, scenario: str) -> dict[str, Any]:
        target, networks, options = self._config.target, self._config.networks, self._options
        shape = self._environment.shape_class
        load = {"users": options.num_users, "spawn_rate": options.spawn_rate}
        if self._load.name is not None:
            load = {"users": options.num_users, "arrivals": self._load.name}
        return {
            "scenario": scenario,
            "scenario_file": _content(self._environment.parsed_locustfiles or []),
            "streamgauge": _generation(__version__),
            "stamps": "kernel" if kernel_stamps() else "python",
            "users": {
                user.__name__: {
                    **user.traits(networks),
                    "weight": user.weight,
                    "fixed_count": user.fixed_count,
                }
                for user in sorted(self._environment.user_classes, key=lambda user: str(user.__name__))
                if issubclass(user, StreamUser)
            },
            "load": type(shape).__name__ if shape else load,
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


def _labels(given: list[str]) -> dict[str, str]:
    for label in given:
        if not label.partition("=")[0] or "=" not in label:
            raise ScenarioError(f"--gauge-label {label!r}: write it as NAME=VALUE")
    return dict(label.split("=", 1) for label in given)


def _content(files: list[str]) -> str:
    """A scenario with one line changed asks for other work, whatever its name."""
    found = hashlib.sha256()
    for file in files:
        with suppress(OSError):  # a locustfile that came from a URL, or from the master
            found.update(Path(file).read_bytes())
    return found.hexdigest()[:12]


def _generation(version: str) -> str:
    """Of releases with the same one the figures mean the same: 1.4.2 → 1, and before that 0.1.0 → 0.1."""
    major, minor, *_ = version.split(".")
    return major if major != "0" else f"0.{minor}"


def _instrument() -> dict[str, Any]:
    calibration = resolution.known()
    return {
        "resolution": calibration.sentence() if calibration else "not calibrated: run `streamgauge calibrate`",
        "stamps": "kernel" if kernel_stamps() else "python",
        "streamgauge": __version__,
        "locust": locust.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }
