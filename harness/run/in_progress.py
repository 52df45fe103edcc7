"""One run from its start to its end: starts and ends the recording, the users, and what watches them meanwhile."""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import gevent
import msgspec
from gevent.pool import Group
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner

from streamgauge.harness.config.schema import Prices
from streamgauge.harness.config.secrets import filled_metrics, for_workers, public
from streamgauge.harness.drive.dispatcher import Dispatcher
from streamgauge.harness.drive.protocols import for_target
from streamgauge.harness.errors import ScenarioError, StoreError, StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.store import Run, RunStatus, Store
from streamgauge.harness.judge.store.spent import tokens_since
from streamgauge.harness.judge.verdict.abort import AbortRules
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.idleness import WATCHED
from streamgauge.harness.run import planned_load, warm_up
from streamgauge.harness.run.asked_load import AskedLoad
from streamgauge.harness.run.budget import Budget
from streamgauge.harness.run.conclusion import conclude
from streamgauge.harness.run.display import Display
from streamgauge.harness.run.driving import LOCAL
from streamgauge.harness.run.fingerprint import fingerprint, instrument, scenario_of
from streamgauge.harness.run.levels import Levels
from streamgauge.harness.run.local import LocalUsers
from streamgauge.harness.run.messages import FromWorker, StartRun, cleaned
from streamgauge.harness.run.open_load import OpenLoad, Sharing
from streamgauge.harness.run.probing import DAY, Spending, between_probes
from streamgauge.harness.run.recording import Recording
from streamgauge.harness.run.settings import Settings
from streamgauge.harness.run.streams_tab import StreamsTab
from streamgauge.harness.run.terminal import say
from streamgauge.harness.run.workers import Workers, connected

if TYPE_CHECKING:
    from streamgauge.harness.drive.server_metrics import ServerWatch

_FAILURES_EVERY = 0.25  # seconds between two looks at whether all streams fail alike
_RULES_EVERY = 1.0  # seconds between two evaluations of the rules with `abort`


class RunInProgress:
    def __init__(
        self,
        environment: Environment,
        runner: LocalRunner | MasterRunner,
        settings: Settings,
        load: OpenLoad,
        host: str,
        tab: StreamsTab | None,
    ) -> None:
        """Starts nothing yet. StreamgaugeError if the run is impossible; then nothing of it is in the database."""
        self.interrupted = False  # by a signal
        self._environment = environment
        self._runner = runner
        self._settings = settings
        self._stopping = False  # the users are being stopped
        self._aborted = ""  # which rule or budget ended the run; "" if none did
        self._mistake = False  # something other than the verdict decides the exit code
        self._mistakes: list[str] = []  # of the scenario or of a worker: they make the exit code 2 and the run INVALID
        self._faults: list[str] = []  # exceptions that ended something in the background
        self._background = Group()  # greenlets that are killed when the run ends
        warm_up.check(settings.warm_up, environment, load)  # again: the web UI asks for the run time of each run
        run = _new_run(environment, settings, load, host)
        clock = RunClock.starting_at(run.realtime_ns)
        self._load = load
        self._asked = AskedLoad(environment, load)
        self._sharing = Sharing(load, [LOCAL])
        self._levels = None if settings.search is None else Levels(settings.search, environment, clock.now)
        store = Store.create(settings.database)
        try:
            self._recording = Recording(store, run, clock, self._fail)
            self._budget = _budget(settings, self._overspent)
            self._recording.counted_by.append(self._budget.add)
            self._display = Display(environment, runner, settings, self._recording, tab)
            self._server = self._server_watch(run.host)
            self._users = self._users_of(runner)
            if settings.probe is not None:
                if not isinstance(self._users, LocalUsers):
                    raise ScenarioError("--gauge-probe: one process probes a target; leave --processes and --master")
                now = time.time()
                rows = tokens_since(store, settings.probe, now - DAY)
                spending = Spending(settings.config, self._users.request_format, rows, now)
                self._users.probe(spending, settings.config.monitor.every)
            most = None if settings.search is None else settings.search.most_streams
            if most is not None and isinstance(self._users, LocalUsers):  # of several processes, none knows the others
                self._users.begin_at_most(most)
            store.start_run(run)
        except StreamgaugeError:
            store.close()
            raise

    @property
    def id(self) -> str:
        return self._recording.run.id

    def start(self) -> None:
        """Start everything. The first sample of the server's metrics page is taken before any user starts."""
        if self._server is not None:
            self._server.start()
        if isinstance(self._runner, MasterRunner):  # only now: more workers may have connected during set-up
            self._sharing = Sharing(self._load, connected(self._runner))
        self._users.start()
        if isinstance(self._users, Workers):
            self._watched(self._users.watch)
        for advice in (self._asked.advice(), self._size()):
            if advice:
                say(f"streamgauge: {advice}")
        self._watched(self._display.watch, self._ends)
        if not self._settings.keep_going:
            self._watched(self._watch_failures)
        self._watched(self._asked.watch_shape)
        if isinstance(self._users, LocalUsers) and self._settings.probe and self._users.dispatcher is not None:
            self._watched(self._end_between_probes, self._users.dispatcher)
        rules = self._settings.rules
        if self._levels is not None:  # it is to find out at which load the rules are missed: that must not end it
            self._watched(self._levels.follow, self.id, self._end)
        elif any(rule.written.abort for rule in rules):
            watch = AbortRules(rules, self._settings.config.reader, self._settings.warm_up)
            self._watched(self._watch_abort_rules, watch)

    def users_spawned(self) -> None:
        """Call it when all users have been spawned: the schedule of an open load begins, unless it has already."""
        if not self._sharing.begin(self._recording.clock.now()):
            return
        self._users.schedule_begins()
        if self._sharing.ends_at is not None:
            self._watched(self._end_at, self._sharing.ends_at)

    def worker_joined(self, node: str) -> None:
        if isinstance(self._users, Workers):
            self._users.joined(node)

    def take(self, message: FromWorker, node: str) -> None:
        if isinstance(self._users, Workers):
            self._users.take(message, node)

    def stopping(self) -> None:
        """Call it when Locust begins to stop the users. From here on, nothing ends the run early."""
        self._stopping = True
        self._recording.never_give_up()
        if isinstance(self._users, LocalUsers):
            self._users.let_users_go()

    def finish(self) -> int:
        """Call it when the users have been stopped: collects the last batches and samples, and notes what is missing.

        Returns the time of the call, ns on the run's clock: the end of the run.
        """
        recording = self._recording
        ended = recording.clock.now()
        self._users.finish()
        self._background.kill()
        self._display.finish()
        if self._server is not None:
            recording.notes += self._server.finish(0.0 if self.interrupted else WATCHED / 1e9)
        if isinstance(self._users, Workers) and not self.interrupted:  # Ctrl-C can reach workers before the master
            recording.notes += self._users.finished_early()
        if self._runner.exceptions:
            self._mistake = True
            raised = cleaned(str(next(iter(self._runner.exceptions.values()))["msg"]))
            self._mistakes.append(f"the scenario's own code raised: {raised}")
        return ended

    def conclude(self, ended: int) -> Exit:
        """Close the record, judge it and write the results. Call it last; `ended` is what `finish` returned."""
        facts = {"aborted": self._aborted, "faults": self._faults, "mistakes": self._mistakes, **self._budget.facts()}
        facts = {name: fact for name, fact in facts.items() if fact}
        facts |= self._asked.facts(self._sharing.began) if self._levels is None else {"capacity": self._levels.found}
        unsaved = self._recording.finish(self._status, ended, facts, self._asked_until)
        where = f"not whole in {self._settings.database}: {unsaved}" if unsaved else f"in {self._settings.database}"
        try:
            with self._recording.ended() as store:
                # Of probes, the monitor judges each by itself; and the next prober waits for the end of this one.
                verdict = Exit.MET if self._settings.probe else conclude(store, self.id, self._settings)
            if self._settings.report:
                where += f"; its report is {self._settings.report}"
        finally:
            if unsaved or self._settings.report or not self._settings.one_line:
                say(f"run {self.id} is {where}")
        return Exit.MISTAKE if self._mistake or unsaved else verdict

    @property
    def _asked_until(self) -> int | None:
        """When the run was to end, ns on its clock, if it ended before that since all its workers had left it."""
        seconds = self._environment.parsed_options.run_time
        if self._status != "finished" or not seconds or not isinstance(self._users, Workers):
            return None
        return int(seconds * 1e9) if self._users.all_left else None

    @property
    def _status(self) -> RunStatus:
        if self.interrupted and self._settings.probe is None:  # nobody says before how long a monitor runs
            return "interrupted"
        return "aborted" if self._aborted else "finished"

    def _ends(self) -> float | None:
        """When the run is to end, s after its beginning; None: unknown."""
        if self._sharing.ends_at is not None:
            return self._sharing.ends_at / 1e9
        seconds: float | None = self._environment.parsed_options.run_time
        return seconds or None

    # Parts that are made once, in `__init__`.

    def _server_watch(self, host: str) -> "ServerWatch | None":
        """The sampling of the server's own metrics page. None if the config names no page."""
        target, recording = self._settings.config.target, self._recording
        page = filled_metrics(target)
        if page is None:
            return None
        # It imports httpx, for 0.15 s, which a run without such a page saves.
        from streamgauge.harness.drive.server_metrics import ServerWatch  # noqa: PLC0415

        return ServerWatch(target, page, host, recording.clock, recording.keep_server_vitals)

    def _users_of(self, runner: LocalRunner | MasterRunner) -> LocalUsers | Workers:
        if isinstance(runner, MasterRunner):
            return Workers(self._environment, runner, self._recording, self._order, self._refused)
        return LocalUsers(self._environment, runner, self._recording, self._order)

    def _order(self, node: str) -> StartRun:
        """What the process with this node id must know to take part in the run."""
        run, settings, options = self._recording.run, self._settings, self._environment.parsed_options
        target = settings.config.target
        return StartRun(
            run=run.id,
            scenario=run.scenario,
            processes=len(connected(self._runner)) if isinstance(self._runner, MasterRunner) else 1,
            host=run.host,
            realtime_ns=run.realtime_ns,
            seed=settings.seed,
            client=settings.client,
            target=for_workers(target) if isinstance(self._runner, MasterRunner) else target,
            networks=settings.config.networks,
            users=run.fingerprint["users"],
            load=self._sharing.of(node),
            ends_at=int(options.run_time * 1e9) if options.headless and options.run_time else None,
        )

    def _size(self) -> str:
        if self._levels is not None:
            return ""  # how many users there will be is searched for
        own = isinstance(self._runner, LocalRunner) or self._environment.parsed_options.processes
        workers = 0 if own else len(connected(self._runner))
        return planned_load.advice(self._environment, self._recording.run.host, workers)

    def _watched(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run this in the background; the run is invalid if it raises."""
        self._background.spawn(function, *arguments).link_exception(self._note_fault)

    def _note_fault(self, greenlet: gevent.Greenlet) -> None:
        self._faults.append(f"{type(greenlet.exception).__name__}: {str(greenlet.exception)[:200]}")

    # What ends a run early, and what runs in the background.

    def _abort(self, missed: str) -> bool:
        """Returns whether this ended the run, and not something before it."""
        if self._aborted or self._stopping:
            return False
        self._aborted = missed
        say(f"streamgauge: {missed}; the run is ended")
        self._end()
        return True

    def _overspent(self, reason: str) -> bool:
        return self._abort(f"{reason} after {self._recording.clock.now() / 1e9:,.0f} s")

    def _fail(self, reason: str) -> None:
        self._mistake = True
        say(f"streamgauge: {reason}; the run is ended")
        self._end()

    def _refused(self, worker: str, reason: str) -> None:
        self._mistake = True
        say(f"streamgauge: {worker}: {reason}")
        self._mistakes.append(f"{worker} could not take part: {reason}")
        self._end()

    def _end_at(self, moment: int) -> None:
        while (left := moment - self._recording.clock.now()) > 0:  # a gevent timer can fire early
            gevent.sleep(left / 1e9)
        self._end()

    def _end_between_probes(self, dispatcher: Dispatcher) -> None:
        """After a day, let the monitor start another process, with a new run and a new clock."""
        gevent.sleep(DAY)
        monitor, total = self._settings.config.monitor, self._settings.config.target.timeouts.total
        between_probes(dispatcher, (2 * monitor.every + total) / 1e9)
        self._end()

    def _end(self) -> None:
        """Stop the users. In a greenlet of its own: the calling greenlet may be one that the end of the run kills."""
        gevent.spawn(self._runner.quit if self._settings.headless else self._runner.stop)

    def _watch_abort_rules(self, rules: AbortRules) -> None:
        """Evaluate the rules with `abort` every second, and abort the run when one is missed."""
        recording, missed = self._recording, None
        while missed is None:
            gevent.sleep(_RULES_EVERY)
            now = recording.clock.now()
            with suppress(StoreError):  # if the database is locked, the next evaluation reads the same rows
                missed = recording.read(rules.check, recording.run.id, now)
        self._abort(f"{missed.rule} was missed after {now / 1e9:,.0f} s: {missed.reason}")

    def _watch_failures(self) -> None:
        """End the run if its first streams all fail alike: the rest would only repeat it."""
        while (hopeless := self._recording.live.hopeless) is None:
            gevent.sleep(_FAILURES_EVERY)
        run_on = "; --keep-going continues such a run" if self._levels is None else ""
        self._abort(f"{hopeless}, or ask one question with `streamgauge try`{run_on}")


def _budget(settings: Settings, end: Callable[[str], bool]) -> Budget:
    target = settings.config.target
    free = Prices(input=0, output=0, cached_in_input=for_target(target).cached_in_input)
    return Budget(settings.most, settings.prices or free, end)


def _new_run(environment: Environment, settings: Settings, load: OpenLoad, host: str) -> Run:
    now = time.time_ns()
    started = datetime.fromtimestamp(now / 1e9, UTC)
    scenario = scenario_of(environment)
    return Run(
        id=f"{scenario}-{started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        scenario=scenario,
        host=host,
        started_at=started.isoformat(timespec="milliseconds"),
        realtime_ns=now,
        measured_from=settings.warm_up or None,
        config={
            **public(settings.config.target),
            "reader": msgspec.structs.asdict(settings.config.reader),
            **({"prices": msgspec.to_builtins(settings.prices)} if settings.prices else {}),
        },
        rules=[rule.written for rule in settings.rules],
        fingerprint=fingerprint(environment, settings, load),
        labels=settings.labels,
        instrument=instrument() | ({} if settings.search is None else {"capacity": {}}),  # nothing was found yet
    )
