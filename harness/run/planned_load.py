"""How many users a run will have, before it begins: for `--processes auto`, and for a word on what the machine carries.

docs/how-to/many-users.md explains both.
"""

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from locust import LoadTestShape
from locust.runners import LocalRunner, MasterRunner

from streamgauge.harness.calibration import kept, machine, sizing
from streamgauge.harness.calibration.sizing import Planned
from streamgauge.harness.config.load import load
from streamgauge.harness.drive import schedule
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.run.open_load import default_users, given_load
from streamgauge.harness.run.options import AUTO
from streamgauge.harness.run.terminal import say

_MANY = sizing.DEFAULT // 2  # users of a worker on another machine, of which nothing is known here


def understand_auto(parser: argparse.ArgumentParser) -> None:
    """Let Locust's option --processes take `auto`, too."""
    for action in parser._actions:
        if action.dest == "processes":
            action.type = _number_or_auto


def _number_or_auto(text: str) -> int | str:
    if text == AUTO:
        return text
    try:
        number = int(text)
    except ValueError:
        number = -2
    if number < -1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes: write 1 or more, -1 or {AUTO}")
    return number


def resolve_auto(options: Any) -> None:
    """Replace `--processes auto` by a number, and say which; by None if one process is enough. Before Locust forks.

    StreamgaugeError if nothing can be sized here.
    """
    if options.processes != AUTO:
        return
    for flag in ("master", "worker"):
        if getattr(options, flag):
            raise ScenarioError(
                f"--processes {AUTO} sizes a run of this machine alone: with --{flag}, write the number of processes, "
                f"or -1 for one for each core"
            )
    planned = _planned(options)
    count, why = sizing.automatic(kept.known(), planned, machine.cores())
    options.processes = count if count > 1 else None
    say(f"streamgauge: --processes {AUTO}: {why}")


def advice(options: Any, shape: LoadTestShape | None, runner: LocalRunner | MasterRunner, host: str) -> str:
    """What to know of this run's load and this machine before it begins; "" if nothing."""
    users = _peak([shape]) if shape is not None else options.num_users
    if users is None:
        return ""
    planned = Planned(users, _is_tls(host))
    if isinstance(runner, MasterRunner) and not options.processes:
        workers = len(runner.clients.ready) or 1
        if users <= _MANY * workers:
            return ""
        return f"{planned} in {workers:,} workers: run `streamgauge calibrate` on each machine to see what it carries"
    return sizing.sentence(kept.known(), planned, options.processes or 1, machine.cores())


def _planned(options: Any) -> Planned | None:
    """None: it is decided later, in the web UI or by a shape that says nothing before."""
    shapes = list(_shapes(LoadTestShape))
    users = _peak(shapes) if shapes else _asked(options)
    return None if users is None else Planned(users, _is_tls(options.host or ""))


def _asked(options: Any) -> int | None:
    if options.num_users is not None:
        return int(options.num_users)
    open_load = schedule.find(given_load(load(options.gauge_config).load, options))
    if open_load is not None:
        return default_users(open_load)
    return 1 if options.headless or options.autostart else None


def _shapes(kind: type[LoadTestShape]) -> Iterable[type[LoadTestShape]]:
    """The shapes that the scenario has defined."""
    for shape in kind.__subclasses__():
        if not shape.abstract:
            yield shape
        yield from _shapes(shape)


def _peak(shapes: "Sequence[type[LoadTestShape] | LoadTestShape]") -> int | None:
    """The most users of any of our shapes; None if one is another shape, which decides as it goes."""
    numbers: list[int] = []
    for shape in shapes:
        users = getattr(shape, "users", None)
        for number in users if isinstance(users, Sequence) else [users]:
            if not isinstance(number, int | float):
                return None
            numbers.append(int(number))
    return max(numbers, default=None)


def _is_tls(host: str) -> bool:
    return host.lower().startswith("https:")
