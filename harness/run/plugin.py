"""The Locust plug-in: hooks our listeners and options into Locust.

Each Locust process is either a worker (`worker.Worker`), or the one that keeps the runs (`keeper.Keeper`): the process
with a local runner, or the master. A mistake in the options ends Locust with one line and exit code 2.
"""

from typing import Any

import gevent
from locust.env import Environment
from locust.runners import Runner, WorkerRunner

from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.run.console import say
from streamgauge.harness.run.keeper import Keeper
from streamgauge.harness.run.options import add_to_locust
from streamgauge.harness.run.worker import Worker


def register(events: Any) -> None:
    """Hook into Locust. `streamgauge.scenario` calls it, once for a process."""
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_begin)


def _add_options(parser: Any) -> None:
    add_to_locust(parser.add_argument_group("streamgauge"))


def _begin(environment: Environment, runner: Runner, **_: Any) -> None:
    """Locust's `init`: options are parsed, and no user runs yet."""
    try:
        if isinstance(runner, WorkerRunner):
            Worker(environment, runner)
        else:
            Keeper(environment, runner)
            gevent.get_hub().loop.update_now()  # the start of all timers, that of --run-time, too: set-up took a while
    except StreamgaugeError as fault:
        say(f"streamgauge: {fault}")
        raise SystemExit(Exit.MISTAKE) from None
