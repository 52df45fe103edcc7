"""Schedules of an open load: when streams are due, however slow the server is. May read a file; never waits.

The same load and seed give the same schedule. That of `every` goes by the wall clock, which is handed in.
"""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from streamgauge.harness.config.contents import contents
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Load
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.near_miss import listed

_FILE, _EVERY = "file:", "every:"
_JITTER = 0.2  # of the period of `every`: the gap between two arrivals is at most this much shorter or longer
_MOST_BYTES = 64 * 2**20  # of a file


def constant(rate: float, _random: Random) -> Iterator[float]:
    """`rate` arrivals per second at equal intervals, the first at 0; endless."""
    return (number / rate for number in count())


def poisson(rate: float, random: Random) -> Iterator[float]:
    """A Poisson process of `rate` arrivals per second: exponential gaps; endless."""
    at = 0.0
    while True:
        at += random.expovariate(rate)
        yield at


def every(period: float, seed: int, now: Callable[[], float]) -> Iterator[tuple[int, float]]:
    """Number and time, s since 1970, of one arrival in each period, `period` ± 20 % s after the one before; endless.

    An arrival's time depends on its number and the seed alone, and those before `now` are left out. So the schedule of
    a process that takes another's place goes on where the other was, and no period has two arrivals. All are in one
    part of their periods, which the seed chooses: they do not always meet what others begin at each full minute.
    """
    phase = Random(seed).random() * (1 - _JITTER)
    began = now()
    for number in count(int(began // period)):
        at = (number + phase + Random(f"{seed}/{number}").random() * _JITTER) * period
        if at >= began:
            yield number, at


ARRIVALS: dict[str, Callable[[float, Random], Iterator[float]]] = {"constant": constant, "poisson": poisson}


@dataclass(frozen=True, slots=True)
class Schedule:
    name: str  # part of a run's fingerprint; independent of the seed
    rate: float  # arrivals per second, on average
    times: Callable[[Random], Iterator[float]]  # seconds from the schedule's start, in ascending order
    last: float | None = None  # the last of these times; None: the schedule is endless
    period: float | None = None  # seconds, of a schedule that is `every` instead of `times`


def find(load: Load) -> Schedule | None:
    """The schedule that `[load]` asks for; None for a closed load. ScenarioError if the table is invalid."""
    if load.arrivals is None:
        if load.rate is not None:
            raise ScenarioError(f'load.rate: {load.rate:g} goes with load.arrivals = "constant" or "poisson"')
        return None
    if load.arrivals.startswith(_FILE):
        if load.rate is not None:
            raise ScenarioError("load.rate: the file says when streams are due; leave the rate out")
        return _from_file(Path(load.arrivals.removeprefix(_FILE)))
    if load.arrivals.startswith(_EVERY):
        return _each_period(load.arrivals.removeprefix(_EVERY), load.rate)
    if load.arrivals not in ARRIVALS:
        raise ScenarioError(
            f"load.arrivals: no schedule called {load.arrivals!r}; there are "
            + listed(load.arrivals, ARRIVALS, ", every:TIME and file:PATH")
        )
    if load.rate is None:
        raise ScenarioError(f"load.arrivals: {load.arrivals!r} needs load.rate, the streams per second")
    rate = load.rate
    if not 0 < rate < math.inf:
        raise ScenarioError(f"load.rate: {rate:g} is not a number of streams per second; write one above 0")
    draw = ARRIVALS[load.arrivals]
    return Schedule(f"{load.arrivals}, {rate:g} a second", rate, lambda random: draw(rate, random))


def _each_period(written: str, rate: float | None) -> Schedule:
    try:
        period = Duration.parse(written)
    except ValueError as fault:
        raise ScenarioError(f"load.arrivals: {_EVERY}{fault}") from None
    if rate is not None:
        raise ScenarioError(f"load.rate: {_EVERY}{written} says how many there are; leave the rate out")
    if period == 0:
        raise ScenarioError(f"load.arrivals: {_EVERY}{written}: write a time above 0")
    seconds = period / 1e9
    return Schedule(f"{_EVERY}{period}", 1 / seconds, lambda _: iter(()), period=seconds)


def _from_file(path: Path) -> Schedule:
    """One time per line, in seconds from the start; empty lines and lines that begin with # are skipped."""
    try:
        text = contents(path, _MOST_BYTES)
    except OSError as fault:
        raise ScenarioError(f"load.arrivals: {path}: cannot be read: {fault.strerror}") from None
    times: list[float] = []
    for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            times.append(_time(line, times[-1] if times else 0.0, f"{path}:{number}"))
    if not times:
        raise ScenarioError(f"{path}: holds no times; write one per line, in seconds from the start")
    digest = hashlib.sha256(text).hexdigest()[:8]
    return Schedule(f"{path.name}#{digest}", len(times) / max(1.0, times[-1]), lambda _: iter(times), times[-1])


def _time(line: str, least: float, place: str) -> float:
    try:
        at = float(line)
    except ValueError:
        raise ScenarioError(f"{place}: {line.strip()[:40]!r} is not a time; write seconds from the start") from None
    if not 0 <= at < math.inf:
        raise ScenarioError(f"{place}: {line.strip()[:40]} is not a time of 0 or later")
    if at < least:
        raise ScenarioError(f"{place}: {at:g} is earlier than the time before it, {least:g}; sort the file")
    return at
