"""Behaviours: what the person does with the answer. Pure.

A behaviour draws its plan before the stream starts, so that with the same seed people leave at the same moments,
whatever the server does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, log
from random import Random

from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.near_miss import listed


@dataclass(frozen=True, slots=True)
class Retry:
    """How an app retries a request that was refused for overload (429, 503, 529)."""

    most: int  # retries of one request
    honours_retry_after: bool  # waits as long as the header says, or without it with exponential backoff
    seed: int

    def wait(self, times: int, retry_after: float | None) -> float:
        """Seconds to wait after `times` refusals; at most a minute. `retry_after`: the header's; None: absent."""
        random = Random(f"{self.seed}/{times}")
        if not self.honours_retry_after:
            return random.uniform(0.05, 0.25)
        if retry_after is not None:
            # Jitter, since clients that all return at the same moment are refused again.
            return min(60.0, retry_after + random.uniform(0, 0.2))
        return min(60.0, 2.0 ** (times - 1) * random.uniform(0.5, 1.5))


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How an app resumes an answer whose connection broke."""

    most: int  # reconnects for one answer
    seed: int

    def wait(self, times: int, barren: int, retry: float | None, retry_after: float | None) -> float:
        """Seconds to wait before reconnect number `times`; at most a minute.

        `barren` is how many of the latest reconnects in a row brought no content. The wait is `retry`, the server's
        `retry:` field in seconds (1 s without one), doubled for each barren reconnect; at least `retry_after`; plus up
        to 20 % of jitter.
        """
        least = (1.0 if retry is None else retry) * 2.0 ** min(barren, 10)
        return min(60.0, max(least, retry_after or 0.0) * Random(f"{self.seed}/{times}").uniform(1, 1.2))


@dataclass(frozen=True, slots=True)
class Plan:
    """When and how the person leaves. The default reads to the end."""

    leave_after: int | None = None  # ns from the stream's due time
    leave_after_chunks: int | None = None  # leaves after this number of content chunks
    leave_after_share: float | None = None  # leaves after this share of `max_tokens`; see `asking_for`
    patience: int | None = None  # ns from the due time: leaves if no content has arrived by then
    away: tuple[int, int] | None = None  # (ns from the due time, duration): the app does not read meanwhile
    tunnel: tuple[int, int] | None = None  # (ns from the start of connecting, duration): the link carries nothing
    abort: bool = False  # leaves with RST instead of FIN
    linger: int | None = None  # ns that the connection stays open and idle after the answer; None: it is reused
    retry: Retry | None = None  # None: does not retry a refused request
    reconnect: Reconnect | None = None  # None: does not resume a broken answer

    def asking_for(self, most: int) -> "Plan":
        """The plan for an answer of at most `most` tokens: `leave_after_share` becomes `leave_after_chunks`.

        One chunk is taken for one token, since the real length of an answer is known only at its end.
        """
        if self.leave_after_share is None:
            return self
        return replace(self, leave_after_share=None, leave_after_chunks=max(1, ceil(self.leave_after_share * most)))


@dataclass(frozen=True, slots=True)
class Behaviour:
    name: str
    meaning: str
    plan: Callable[[Random], Plan]
    version: int = 1  # part of a run's fingerprint: increment it with every change of the plan


BEHAVIOURS = {
    behaviour.name: behaviour
    for behaviour in [
        Behaviour("patient", "reads to the end", lambda _: Plan()),
        Behaviour(
            "impatient",
            "leaves if no content arrives within its patience: 8 s in the median, under 3 s for one person in ten",
            lambda random: Plan(patience=round(random.lognormvariate(log(8), 0.75) * 1e9)),
        ),
        Behaviour(
            "stop_button",
            "presses stop after 5 to 60 chunks, then asks the next question",
            lambda random: Plan(leave_after_chunks=random.randint(5, 60)),
        ),
        Behaviour(
            "skimmer",
            "presses stop at 10 to 90 % of the longest possible answer (`max_tokens`)",
            lambda random: Plan(leave_after_share=random.uniform(0.1, 0.9)),
        ),
        Behaviour(
            "loses_interest",
            "closes the tab at a random moment, on average 10 s after asking: most do not see the end of a long answer",
            lambda random: Plan(leave_after=1 + round(random.expovariate(1 / 10) * 1e9)),
        ),
        Behaviour(
            "closed_tab",
            "closes the tab some seconds after asking: 1.5 s and, on average, 3 s more",
            lambda random: Plan(leave_after=round((1.5 + random.expovariate(1 / 3)) * 1e9)),
        ),
        Behaviour(
            "killed_app",
            "like `closed_tab`, but the phone kills the app: the connection is reset, not closed",
            lambda random: Plan(leave_after=round((1.5 + random.expovariate(1 / 3)) * 1e9), abort=True),
        ),
        Behaviour(
            "app_switcher",
            "switches to another app some seconds after asking and returns 2 to 20 s later; nothing is read in between",
            lambda random: Plan(away=_away(random)),
        ),
        Behaviour(
            "forgotten_app",
            "like `app_switcher`, but the phone kills the app in the background after 2 to 20 s",
            lambda random: _forgotten(*_away(random)),
        ),
        Behaviour(
            "tunnel_rider",
            "rides into a tunnel some seconds after asking: nothing gets through for 2 to 20 s, then the rest arrives",
            lambda random: Plan(tunnel=_away(random)),
        ),
        Behaviour(
            "lingerer",
            "reads to the end and leaves the connection open and idle for 30 s to 2 minutes; asks again over a new one",
            lambda random: Plan(linger=round(random.uniform(30, 120) * 1e9)),
        ),
        Behaviour(
            "reconnects",
            "after a broken connection, asks for the rest with Last-Event-ID, or again without ids; up to 5 times",
            lambda random: Plan(reconnect=Reconnect(5, seed=random.getrandbits(32))),
        ),
        Behaviour(
            "polite_retry",
            "asks again if refused with 429, 503 or 529: up to 3 times, when retry-after says or after 1, 2 and 4 s",
            lambda random: Plan(retry=Retry(3, honours_retry_after=True, seed=random.getrandbits(32))),
        ),
        Behaviour(
            "retry_storm",
            "asks again at once if refused with 429, 503 or 529: up to 10 times, whatever retry-after says",
            lambda random: Plan(retry=Retry(10, honours_retry_after=False, seed=random.getrandbits(32))),
        ),
    ]
}

OVERLOAD = frozenset({429, 503, 529})  # the HTTP statuses after which a `Retry` asks again


def _away(random: Random) -> tuple[int, int]:
    """(ns from the due time, duration in ns) of an app switch or a tunnel."""
    return round((1 + random.expovariate(1 / 2)) * 1e9), round(random.uniform(2, 20) * 1e9)


def _forgotten(after: int, duration: int) -> Plan:
    """In the background `after` ns, where the phone kills the app `duration` ns later."""
    return Plan(away=(after, 2 * duration), leave_after=after + duration, abort=True)


def find(name: str) -> Behaviour:
    """The behaviour of that name. ScenarioError, listing what exists, if there is none."""
    if name not in BEHAVIOURS:
        raise ScenarioError(f"no behaviour called {name!r}; there are {listed(name, BEHAVIOURS)}")
    return BEHAVIOURS[name]
