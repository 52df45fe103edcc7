"""How many users a run will have, before it begins: for `--processes auto`, and for a word on what the machine carries.

docs/how-to/many-users.md explains both.
"""

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from locust import LoadTestShape
from locust.env import Environment

from streamgauge.harness import cores
from streamgauge.harness.calibration import kept, sizing
from streamgauge.harness.calibration.sizing import Planned
from streamgauge.harness.config.load import load
from streamgauge.harness.counting import some
from streamgauge.harness.drive import schedule
from streamgauge.harness.drive.users import StreamUser
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.run.open_load import default_users, given_load
from streamgauge.harness.run.options import AUTO
from streamgauge.harness.run.terminal import say

_MANY = sizing.DEFAULT // 2  # users of a worker on another machine, of which nothing is known here

_WIRE = "wire"

Defined = TypeVar("Defined")


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
    count, why = sizing.automatic(kept.known(), planned, cores.usable())
    options.processes = count if count > 1 else None
    os.environ.pop("LOCUST_PROCESSES", None)  # it can say `auto`, and Locust's workers would parse it again
    say(f"streamgauge: --processes {AUTO}: {why}")


def advice(environment: Environment, host: str, workers: int) -> str:
    """What to know of this run's load and this machine before it begins; "" if nothing.

    `workers`: that the run has, if they are not processes of this machine, of which alone something is known; else 0.
    """
    options, shape = environment.parsed_options, environment.shape_class
    users = options.num_users if shape is None else _peak([shape])
    if users is None:
        return ""
    planned = Planned(users, _is_tls(host), _client(environment.user_classes, options))
    if not workers:
        return sizing.sentence(kept.known(), planned, options.processes or 1, cores.usable())
    if users <= _MANY * workers:
        return ""
    count = some(workers, "worker")
    return f"{planned} in {count}: run `streamgauge calibrate` on each machine to see what it carries"


def _planned(options: Any) -> Planned | None:
    """None: it is decided later, in the web UI or by a shape that says nothing before."""
    shapes = list(_defined(LoadTestShape))
    users = _peak(shapes) if shapes else _asked(options)
    if users is None:
        return None
    classes = [user for user in _defined(StreamUser) if user.__name__ in (options.user_classes or [user.__name__])]
    hosts = [options.host] if options.host else [user.host or "" for user in classes]
    return Planned(users, any(map(_is_tls, hosts)), _client(classes, options))


def _client(classes: Iterable[type], options: Any) -> str:
    """The most expensive client of these users: any that is not `wire`."""
    names = {options.gauge_client or user.client for user in classes if issubclass(user, StreamUser)}
    return max(names - {_WIRE}, default=_WIRE)


def _asked(options: Any) -> int | None:
    if options.num_users is not None:
        return int(options.num_users)
    open_load = schedule.find(given_load(load(options.gauge_config).load, options))
    if open_load is not None:
        return default_users(open_load)
    return 1 if options.headless or options.autostart else None


def _defined(kind: type[Defined]) -> Iterator[type[Defined]]:
    """The classes of this kind that the scenario has made for Locust to use."""
    for each in kind.__subclasses__():
        if not each.abstract:  # type: ignore[attr-defined]  # Locust sets it
            yield each
        yield from _defined(each)


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
