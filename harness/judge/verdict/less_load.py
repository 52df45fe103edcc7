"""Whether the load that ran was clearly less than the load that was asked for. Pure.

A server with less load answers faster, so a rule that such a run meets shows nothing. Load is counted as users times
seconds, and of a run with a shape or a schedule by what can be compared: the users at the peak, the time.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, NamedTuple

import msgspec
import numpy as np

from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.store import Run, VitalSeries
from streamgauge.harness.record.vitals import Vital

# docs/concepts/validity.md gives the reason: with one arrival in twenty missing, the p95 of the others is at best p90.
CLEARLY = 0.05  # share of the load
EVIDENCE = (Vital.USERS, Vital.HELD_STREAMS)
_GRAIN = 2.0  # seconds: processes start one after another and are sampled once a second
# A database may hold anything.
_SomeUsers = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
_MoreThan0 = Annotated[float, msgspec.Meta(gt=0)]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a run was asked for, as far as it can be compared with what ran. Stored as `instrument.asked`."""

    users: _SomeUsers  # at the peak
    spawn_rate: _MoreThan0 | None = None  # users per second; None: a load shape or a schedule decides
    seconds: _MoreThan0 | None = None  # how long it was to last; None: until its shape or its schedule ends
    schedule_began: float | None = None  # seconds into the run; its end if it never began. None: no schedule


class _Ran(NamedTuple):
    peak: float  # users
    user_seconds: float


def missing(run: Run, vitals: Mapping[Vital, VitalSeries]) -> Iterator[str]:
    """A sentence for each part of the load that was clearly missing, with how much that was."""
    left = float(run.instrument.get("load_missing") or 0.0)
    if left > CLEARLY:
        yield f"{figure(left, 'ratio')} of the load that was asked for was missing, since workers left the run"
    asked = _asked(run)
    if asked is not None and left <= CLEARLY:
        yield from _of_users(asked, run, _ran(vitals[Vital.USERS]))
        yield from _of_time(asked, run)
    held, users = (float(vitals[name].value.sum()) for name in (Vital.HELD_STREAMS, Vital.USERS))
    if users and held / users > CLEARLY:
        yield (
            f"{figure(held / users, 'ratio')} of the load that was asked for was missing: "
            f"users were held back until what they had seen was stored"
        )


def _asked(run: Run) -> Asked | None:
    """None if it is unknown, as of older versions, or if the run was not to end by itself."""
    if run.status != "finished" or "asked" not in run.instrument:
        return None
    try:
        return msgspec.convert(run.instrument["asked"], Asked)
    except msgspec.ValidationError:  # a damaged database
        return None


def _of_users(asked: Asked, run: Run, ran: _Ran) -> Iterator[str]:
    if _seconds(run) < _GRAIN:  # too short to have been sampled while its users ran
        return
    if ran.peak < (1 - CLEARLY) * asked.users:
        yield (
            f"only {ran.peak:,.0f} of {some(asked.users, 'user')} that were asked for ran at once"
            f"{_too_slow(asked) or ': the others could not be started, or ended by themselves'}"
        )
    elif asked.spawn_rate is not None:
        lasted = min(asked.seconds or np.inf, _seconds(run))
        wanted = _user_seconds(asked.users, asked.spawn_rate, lasted)
        short = wanted - ran.user_seconds
        if short > CLEARLY * wanted and short > _GRAIN * asked.users:
            yield (
                f"{figure(short / wanted, 'ratio')} of the load that was asked for was missing, in users times "
                f"seconds: users ended by themselves before the run did, or were started late"
            )


def _too_slow(asked: Asked) -> str:
    """Why the users could not all be there in time; "" if they could."""
    if asked.spawn_rate is None or asked.seconds is None or asked.users / asked.spawn_rate <= asked.seconds:
        return ""
    return (
        f": at {asked.spawn_rate:g} started per second, all are there after "
        f"{asked.users / asked.spawn_rate:,.0f} s, and the run took {asked.seconds:,.0f} s; raise --spawn-rate"
    )


def _of_time(asked: Asked, run: Run) -> Iterator[str]:
    if asked.seconds is None:
        return
    short = asked.seconds - _seconds(run)
    if short > max(CLEARLY * asked.seconds, _GRAIN):
        yield (
            f"the run ended after {_seconds(run):,.0f} s of the {asked.seconds:,.0f} s that were asked for: "
            f"{figure(short / asked.seconds, 'ratio')} of the load was missing; something in the scenario stopped it"
        )
    began = asked.schedule_began
    if began is not None and began - _GRAIN > CLEARLY * asked.seconds:
        yield (
            f"the schedule began only after {began:,.0f} s of {asked.seconds:,.0f} s, when all users were there: "
            f"{figure(began / asked.seconds, 'ratio')} of the load was missing; raise --spawn-rate"
        )


def _seconds(run: Run) -> float:
    return (run.ended_ns or 0) / 1e9


def _user_seconds(users: int, spawn_rate: float, seconds: float) -> float:
    """Of a load that rises by so many users per second."""
    rises = min(users / spawn_rate, seconds)
    return spawn_rate * rises**2 / 2 + users * (seconds - rises)


def _ran(users: VitalSeries) -> _Ran:
    """A sample stands for the time since the one before of the same process."""
    now: dict[str, float] = {}
    sampled: dict[str, float] = {}
    peak = user_seconds = 0.0
    for worker, at, value in zip(users.worker, users.at.tolist(), users.value.tolist(), strict=True):
        user_seconds += value * (at - sampled.get(worker, 0.0)) / 1e9
        now[worker], sampled[worker] = value, at
        peak = max(peak, sum(now.values()))
    return _Ran(peak, user_seconds)
