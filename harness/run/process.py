"""A run in this process, as the commands start it: Locust with our options, whatever the scenario imports.

A scenario that cannot be loaded, or has no StreamUser, ends it with one line and exit code 2.
"""

import os
import sys
from typing import Any

import locust.main
from locust import events

from streamgauge.harness.drive.users import StreamUser
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.run import locust_plugin
from streamgauge.harness.run.terminal import say
from streamgauge.harness.unexpected import debugged, of_user, reported


def main() -> None:
    sys.argv[0] = "streamgauge"  # begins the lines in which Locust refuses an option
    locust_plugin.register(events)
    locust.main.load_locustfile = _checked(locust.main.load_locustfile)
    os.waitpid = _waits(os.waitpid)
    try:
        locust.main.main()
    except Exception as fault:  # noqa: BLE001 - whatever it is, it must not exit with 0 or 1
        _end(reported(fault))


def _checked(load: Any) -> Any:
    """Locust's loading of a scenario's file, whose failures are one line."""

    def checked(path: str) -> Any:
        try:
            users, shapes = load(path)
        except (Exception, SystemExit) as fault:  # noqa: BLE001 - the scenario's own code can raise anything
            debugged(fault)
            _end(of_user(fault, path))
        if not any(issubclass(user, StreamUser) for user in users.values()):
            _end(
                f"{path}: no class in it is a StreamUser: write `from streamgauge.scenario import StreamUser` and make "
                "your user class one; docs/how-to/own-scenario.md"
            )
        return users, shapes

    return checked


def _waits(waitpid: Any) -> Any:
    """The waiting for a child, which has ended if it is no child any more.

    gevent forgets what became of a worker a minute after its end. Locust would ask for 3 s, and log each of some ten
    thousand refusals with a traceback.
    """

    def waits(pid: int, options: int) -> tuple[int, int]:
        try:
            found: tuple[int, int] = waitpid(pid, options)
        except ChildProcessError:
            return pid, 0
        return found

    return waits


def _end(line: str) -> None:
    say(f"streamgauge: {line}")
    sys.exit(Exit.MISTAKE)
