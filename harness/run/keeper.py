"""Turns Locust's events into runs, in the process that records them: the master, or the only process.

Makes one `RunInProgress` for each run and drops it afterwards. What a run consists of and how it ends is decided there.
"""

import atexit
import logging
import math
import os
import sys
import time
from typing import Any

import gevent
from gevent.event import Event
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner

from streamgauge.harness.config.secrets import advice, known_here
from streamgauge.harness.drive.users import StreamUser, assign
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.interrupt import endings, leave_closed_terminal
from streamgauge.harness.judge.store import Store
from streamgauge.harness.native.library import LIBRARY, slower
from streamgauge.harness.programs import listened_to, tell
from streamgauge.harness.run import forked_workers, limits, messages, warm_up
from streamgauge.harness.run.hosts import Hosts
from streamgauge.harness.run.in_progress import RunInProgress
from streamgauge.harness.run.messages import Batch, Done, FromWorker, Ping, Pong, Ready, Refused
from streamgauge.harness.run.open_load import close, open_load
from streamgauge.harness.run.pace import Pace, set_pace
from streamgauge.harness.run.secrecy import protect
from streamgauge.harness.run.settings import settings
from streamgauge.harness.run.streams_tab import StreamsTab
from streamgauge.harness.run.terminal import end_main, interrupt_main, say
from streamgauge.harness.run.web_ui import guard
from streamgauge.harness.run.workers import quits_once

_LOOK = 0.25  # seconds between two looks at whether the workers are still there
_ONE_REQUEST = 1.0  # seconds in which more of the same signal is still the first request to end
_log = logging.getLogger("locust.streamgauge")


class Keeper:
    def __init__(self, environment: Environment, runner: LocalRunner | MasterRunner) -> None:
        """StreamgaugeError for any mistake in the options, the config or the scenario."""
        options = environment.parsed_options
        self._environment = environment
        self._runner = runner
        self._settings = settings(options)
        if self._settings.search is not None:  # it decides how many users run, and not the scenario's shape
            environment.shape_class = None
        self._load = open_load(
            self._settings.config.load, environment, self._settings.config.target.timeouts.total / 1e9
        )
        if self._settings.search is not None and self._load.given.rate is not None:
            set_pace(environment, Pace(self._load.given.rate))
        protect(environment, known_here(self._settings.config.target))
        self._hosts = Hosts(environment, self._settings.config.target)
        self._tab: StreamsTab | None = None  # of the web UI; None without one
        self._run: RunInProgress | None = None  # None between two runs
        self._concluded = Event()  # set while there is no run whose results are still to be written
        self._concluded.set()
        self._concluding = False  # whether a greenlet of ours ends the run
        self._code: Exit | None = None  # that the process is to end with; None: no run has begun
        self._asked_at: dict[int, float] = {}  # by signal: when the first one asked to end; monotonic seconds
        self._quitting = False
        self._ran = False  # whether there was a run
        for told in filter(None, (advice(self._settings.config.target), slower(LIBRARY))):
            say(f"streamgauge: {told}")
        self._check()
        self._listen(environment.events)
        if isinstance(runner, MasterRunner):
            quits_once(runner)
            kinds: tuple[type[FromWorker], ...] = (Ready, Batch, Done, Refused)
            for kind in kinds:
                messages.listen(runner, kind, self._on_message)
            messages.listen(runner, Ping, self._on_ping)
            if options.headless or options.autostart:
                gevent.spawn(self._wait_for_workers)
        if options.gauge_progress:
            logging.getLogger("locust.stats_logger").setLevel(logging.WARNING)
        atexit.register(self._on_exit)
        for number in endings():  # of SIGTERM, Locust would know only after a run with a shape
            gevent.signal_handler(number, self._on_signal, number)

    def _check(self) -> None:
        """Find mistakes now that would otherwise fail every run."""
        options = self._environment.parsed_options
        for user in self._environment.user_classes:
            if issubclass(user, StreamUser):
                user.client = self._settings.client or user.client
                user.check(self._settings.config.target, self._settings.config.networks)
        warm_up.check(self._settings.warm_up, self._environment, self._load)
        processes = max(1, getattr(options, "processes", None) or 1)  # -1: one for each core
        limits.check(math.ceil((options.num_users or 0) / processes))
        if options.headless or options.autostart:
            self._host()  # without these options, the web UI asks for the host before each run
        with Store.create(self._settings.database):
            pass
        if self._environment.web_ui is not None:
            guard(self._environment, self._environment.web_ui, self._hosts)
            self._tab = StreamsTab(self._environment.web_ui)

    def _host(self) -> str:
        """Of the next run. TargetError if there can be none."""
        host = self._hosts.of_next_run()
        if self._settings.probe is None:  # to a monitor, a name that does not resolve is a probe that failed
            self._hosts.resolve(host)
        return host

    def _listen(self, events: Any) -> None:
        events.worker_connect.add_listener(self._on_worker_connect)
        events.test_start.add_listener(self._on_test_start)
        events.spawning_complete.add_listener(self._on_spawning_complete)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.test_stop.add_listener(self._on_test_stop)
        events.quitting.add_listener(self._on_quitting)

    def _on_test_start(self, **_: Any) -> None:
        self._ran = True
        assign(self._environment, None)
        try:
            self._run = RunInProgress(
                self._environment, self._runner, self._settings, self._load, self._host(), self._tab
            )
        except StreamgaugeError as fault:  # such as a locked database, or a host given in the web UI that is no URL
            self._end_with(Exit.MISTAKE)
            if self._environment.web_ui is None:  # otherwise Locust would start the users, and print their tracebacks
                say(f"streamgauge: {fault}")
                self._runner.quit()  # the workers, too
                raise SystemExit(Exit.MISTAKE) from None
            _log.error("%s", fault)
        else:
            self._end_with(Exit.MISTAKE)  # until there is a verdict: a run without one is no success
            self._concluded.clear()
            self._run.start()

    def _on_spawning_complete(self, **_: Any) -> None:
        if self._run is not None:
            self._run.users_spawned()

    def _on_test_stopping(self, **_: Any) -> None:
        close(self._environment)
        if self._run is not None:
            self._run.stopping()

    def _on_test_stop(self, **_: Any) -> None:
        """Locust may kill the calling greenlet, if the last worker leaves when the time is over. So it only waits."""
        if self._run is not None and not self._concluding:
            self._concluding = True
            gevent.spawn(self._conclude, self._run)
        self._concluded.wait()

    def _conclude(self, run: RunInProgress) -> None:
        try:
            ended = run.finish()
            self._run = None  # from here on, messages of workers are ignored
            self._end_with(run.conclude(ended))
        except StreamgaugeError as fault:
            self._end_with(Exit.MISTAKE)
            say(f"streamgauge: {fault}")
        finally:
            self._run, self._concluding = None, False
            self._concluded.set()

    def _on_quitting(self, **_: Any) -> None:
        if self._quitting:  # Locust also shuts down in the greenlet of another signal; the first one ends the process
            Event().wait()
        self._quitting = True
        if self._run is not None and not self._concluding:  # a signal in the middle of a run
            self._run.interrupted = True
            self._runner.stop()  # fires test_stop, unless another greenlet is stopping the run
        self._concluded.wait()

    def _on_signal(self, number: int) -> None:
        leave_closed_terminal()
        now = time.monotonic()
        # Ctrl-C comes twice: from the terminal, and as SIGTERM from our command, which may be seconds late.
        same = [at for sent, at in self._asked_at.items() if sent == number or not listened_to()]
        if same and now - min(same) > _ONE_REQUEST:
            say("streamgauge: interrupted again: ended at once; what was stored is in the database")
            tell(Exit.INCONCLUSIVE)
            os._exit(Exit.INCONCLUSIVE)
        asked_before = bool(self._asked_at)
        self._asked_at.setdefault(number, now)
        if asked_before:
            return
        if self._run is not None:  # on Ctrl-C, Locust ends a run with a load shape as if it had finished
            self._run.interrupted = True
        if self._quitting:  # the run has ended, and its results are being written
            return
        if self._ran or not self._environment.parsed_options.headless:
            interrupt_main()
        else:
            say("streamgauge: interrupted before the run began")
            gevent.spawn(self._leave, Exit.INCONCLUSIVE)

    def _wait_for_workers(self) -> None:
        """Until the run begins. A worker that we forked and that has ended cannot take part any more."""
        while not (self._ran or self._asked_at):
            if how := forked_workers.one_ended():
                say(f"streamgauge: a worker {how} before the run began, so there is none; start it again")
                self._leave(Exit.MISTAKE)
                return
            gevent.sleep(_LOOK)

    def _leave(self, code: Exit) -> None:
        self._end_with(code)
        self._runner.quit()  # the workers, too
        end_main(code)

    def _end_with(self, code: Exit) -> None:
        self._code = self._environment.process_exit_code = code

    def _insist(self, code: Exit) -> None:
        """End with the run's exit code, or with 1 if the run is good and the scenario says that it is not.

        A listener for Locust's `quitting` can set another one: 0 would look like a kept SLA.
        """
        asked = self._environment.process_exit_code
        right = code or (Exit.MISSED if asked else Exit.MET)
        tell(right)
        if asked != right:
            say(f"streamgauge: the scenario asked for exit code {asked}; the run ends with {right:d}")
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(right)

    def _on_exit(self) -> None:
        """A scenario can call `sys.exit()` in the middle of a run: an exit code of 0 would look like a kept SLA."""
        # Inconclusive: a signal was told as "before the run began", and the run began before the process had ended.
        if not self._concluded.is_set() and self._code is not Exit.INCONCLUSIVE:
            say("streamgauge: the scenario ended this process; its run has no end and no verdict")
            os._exit(Exit.MISTAKE)
        if self._code is not None:
            self._insist(self._code)
        elif self._environment.web_ui is not None:  # nobody has started a run
            tell(Exit.MET)
        elif not self._ran:  # Locust gave up waiting for workers, with exit code 1, which means that a rule was missed
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(Exit.MISTAKE)

    # Messages from workers.

    def _on_worker_connect(self, client_id: str, **_: Any) -> None:
        if self._run is not None:
            self._run.worker_joined(client_id)

    def _on_message(self, message: FromWorker, node: str) -> None:
        if self._run is not None and self._run.id == message.run:
            self._run.take(message, node)

    def _on_ping(self, ping: Ping, node: str) -> None:
        messages.send(self._runner, Pong(ping.asked, time.time_ns()), node)
