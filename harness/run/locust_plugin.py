"""The Locust plug-in: registers our listeners and options with Locust.

Each Locust process is either a worker (`worker.Worker`) or the process that records the runs (`keeper.Keeper`): the
master, or the only process. A mistake in the options ends Locust with one line and exit code 2.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import Runner, WorkerRunner

from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.native import library
from streamgauge.harness.parent import forks_end_with_this_process
from streamgauge.harness.programs import tell
from streamgauge.harness.run import forked_workers, limits, planned_load, port, screen
from streamgauge.harness.run.fork_output import ForkOutput
from streamgauge.harness.run.options import add_to_locust
from streamgauge.harness.run.terminal import say
from streamgauge.harness.run.worker import Worker

_ONLY_SHOW = ("list_commands", "show_task_ratio", "show_task_ratio_json")  # Locust's options that begin no run


def register(events: Any) -> None:
    """Register with Locust: once in a process, by the scenario's import of `streamgauge.scenario` or before it."""
    if _begin in events.init._handlers:
        return
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_begin)


def _add_options(parser: Any) -> None:
    """Add our options. Once they are parsed, and before Locust acts by them, its port is secured."""
    add_to_locust(parser.add_argument_group("streamgauge"))
    planned_load.understand_auto(parser)
    parse = parser.parse_args

    def parse_and_secure(*words: Any, **named: Any) -> Any:
        options = parse(*words, **named)
        if any(getattr(options, name) for name in _ONLY_SHOW):
            tell(Exit.MET)
        with _mistakes_in_one_line():
            planned_load.resolve_auto(options)
            port.secure(options)
        if options.processes:
            forks_end_with_this_process()
            forked_workers.remember()
            if options.gauge_progress and screen.possible():
                ForkOutput()
        return options

    parser.parse_args = parse_and_secure


def _begin(environment: Environment, runner: Runner, **_: Any) -> None:
    """Called by Locust's event `init`: options are parsed, and no user runs yet."""
    with _mistakes_in_one_line():
        library.load()
        limits.raise_open_files()
        if isinstance(runner, WorkerRunner):
            Worker(environment, runner)
        else:
            # Imported only here: the store and the judge take 0.2 s, and a worker uses neither.
            from streamgauge.harness.run.keeper import Keeper  # noqa: PLC0415

            Keeper(environment, runner)
            # Timers count from the loop's time, which set-up has left behind: --run-time would be too short.
            gevent.get_hub().loop.update_now()


@contextmanager
def _mistakes_in_one_line() -> Iterator[None]:
    try:
        yield
    except StreamgaugeError as fault:
        say(f"streamgauge: {fault}")
        raise SystemExit(Exit.MISTAKE) from None
