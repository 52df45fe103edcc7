"""The Locust plug-in: hooks our listeners and options into Locust.

Each Locust process is either a worker (`worker.Worker`), or the one that keeps the runs (`keeper.Keeper`): the process
with a local runner, or the master. A mistake in the options ends Locust with one line and exit code 2.
"""

from typing import Any

import gevent
from locust.env import Environment
from locust.runners import Runner, WorkerRunner

from streamgauge.harness.drive.clients import CLIENTS
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import dispatch
from streamgauge.harness.run.console import say
from streamgauge.harness.run.keeper import Keeper
from streamgauge.harness.run.worker import Worker


def register(events: Any) -> None:
    """Hook into Locust. `streamgauge.scenario` calls it, once for a process."""
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
