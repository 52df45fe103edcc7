"""What the person does with the answer. Pure: a behaviour draws a plan before its stream starts, so that the same
seed leaves at the same moments whatever the server does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, log
from random import Random

from streamgauge.harness.errors import ScenarioError


@dataclass(frozen=True, slots=True)
class Retry:
    """How somebody who is told "too much" (429, 503, 529) asks again."""

    most: int  # times
    honours: bool  # waits as long as the server's retry-after says, or ever longer where it says nothing
    seed: int

    def wait(self, times: int, retry_after: float | None) -> float:
        """Seconds before the next try, when `times` tries have failed; never more than a minute."""
        random = Random(f"{self.seed}/{times}")
        if not self.honours:
            return random.uniform(0.05, 0.25)
        if retry_after is not None:
            return min(60.0, retry_after + random.uniform(0, 0.2))  # who all come back at once are turned away again
        return min(60.0, 2.0 ** (times - 1) * random.uniform(0.5, 1.5))


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How an app goes on with an answer whose connection broke."""

    most: int  # times, for one answer
    seed: int

    def wait(self, times: int, barren: int, retry: float | None, retry_after: float | None) -> float:
        """Seconds before reconnect number `times`, the last `barren` of which brought nothing; a minute at most.

        What the server's `retry:` says (1 s where it says nothing), twice as long after each barren one, and never
        before its retry-after; with up to a fifth more, for who all come back at once are dropped again.
        """
        least = (1.0 if retry is None else retry) * 2.0 ** min(barren, 10)
        return min(60.0, max(least, retry_after or 0.0) * Random(f"{self.seed}/{times}").uniform(1, 1.2))


@dataclass(frozen=True, slots=True)
class Plan:
    """When and how the person leaves. Nothing set: reads to the end."""

    leave_after: int | None = None  # ns from the stream's due time
    leave_after_chunks: int | None = None  # content chunks that they have seen
    leave_after_share: float | None = None  # of the longest answer that was asked for; see `asking_for`
    patience: int | None = None  # ns from the due time: leaves if no content has come by then
    away: tuple[int, int] | None = None  # ns from the due time, and for how long: the app does not read in between
    tunnel: tuple[int, int] | None = None  # ns from when connecting begins, and for how long: the link is gone
    abort: bool = False  # RST instead of FIN
    linger: int | None = None  # ns that the connection stays open, unused, after the answer's end; None: to be reused
    retry: Retry | None = None  # None: takes a refusal for an answer
    reconnect: Reconnect | None = None  # None: takes a broken answer as it is

    def asking_for(self, most: int) -> "Plan":
        """The plan for an answer of at most so many tokens: a share of it is chunks, one taken for each token.

        How long an answer will be, nobody knows before its end.
        """
        if self.leave_after_share is None:
            return self
        return replace(self, leave_after_share=None, leave_after_chunks=max(1, ceil(self.leave_after_share * most)))


@dataclass(frozen=True, slots=True)
class Behaviour:
    name: str
    meaning: str
    plan: Callable[[Random], Plan]
    version: int = 1  # part of a run's fingerprint: raise it with any change of the plan


BEHAVIOURS = {
    behaviour.name: behaviour
    for behaviour in [
        Behaviour("patient", "reads to the end", lambda _: Plan()),
        Behaviour(
            "impatient",
            "leaves if nothing has come after a patience of its own: 8 s for the middle one, 3 s for one in ten",
            lambda random: Plan(patience=round(random.lognormvariate(log(8), 0.75) * 1e9)),
        ),
        Behaviour(
            "stop_button",
            "presses stop when 5 to 60 chunks have come, then asks on",
            lambda random: Plan(leave_after_chunks=random.randint(5, 60)),
        ),
        Behaviour(
            "skimmer",
            "presses stop at a tenth to nine tenths of the longest answer that was asked for (`max_tokens`)",
            lambda random: Plan(leave_after_share=random.uniform(0.1, 0.9)),
        ),
        Behaviour(
            "loses_interest",
            "closes at any moment alike: after 10 s on average, most who ask for much do not see its end",
            lambda random: Plan(leave_after=1 + round(random.expovariate(1 / 10) * 1e9)),
        ),
        Behaviour(
            "closed_tab",
            "closes the tab some seconds after asking: 1.5 s and, on average, 3 s more",
            lambda random: Plan(leave_after=round((1.5 + random.expovariate(1 / 3)) * 1e9)),
        ),
        Behaviour(
            "killed_app",
            "the phone kills the app some seconds after asking, as above: a reset, no goodbye",
            lambda random: Plan(leave_after=round((1.5 + random.expovariate(1 / 3)) * 1e9), abort=True),
        ),
        Behaviour(
            "app_switcher",
            "looks at another app some seconds after asking and comes back 2 to 20 s later; nothing is read meanwhile",
            lambda random: Plan(away=_away(random)),
        ),
        Behaviour(
            "forgotten_app",
            "the same, but after 2 to 20 s the phone kills the app in the background",
            lambda random: _forgotten(*_away(random)),
        ),
        Behaviour(
            "tunnel_rider",
            "rides into a tunnel some seconds after asking: the link is gone for 2 to 20 s, and then goes on",
            lambda random: Plan(tunnel=_away(random)),
        ),
        Behaviour(
            "lingerer",
            "reads to the end and leaves the connection open for 30 s to 2 minutes; asks on over another one",
            lambda random: Plan(linger=round(random.uniform(30, 120) * 1e9)),
        ),
        Behaviour(
            "reconnects",
            "when its connection breaks, asks for the rest with Last-Event-ID, or else anew; up to 5 times an answer",
            lambda random: Plan(reconnect=Reconnect(5, seed=random.getrandbits(32))),
        ),
        Behaviour(
            "polite_retry",
            "told to wait (429, 503, 529), asks again up to 3 times, when retry-after says or after 1, 2 and 4 s",
            lambda random: Plan(retry=Retry(3, honours=True, seed=random.getrandbits(32))),
        ),
        Behaviour(
            "retry_storm",
            "told to wait, asks again at once, up to 10 times, whatever retry-after says",
            lambda random: Plan(retry=Retry(10, honours=False, seed=random.getrandbits(32))),
        ),
    ]
}

TOO_MUCH = frozenset({429, 503, 529})  # the statuses that a Retry is about


def _away(random: Random) -> tuple[int, int]:
    return round((1 + random.expovariate(1 / 2)) * 1e9), round(random.uniform(2, 20) * 1e9)


def _forgotten(after: int, duration: int) -> Plan:
    """In the background until the end, which is the phone's doing."""
    return Plan(away=(after, 2 * duration), leave_after=after + duration, abort=True)


def find(name: str) -> Behaviour:
    """The behaviour of that name. ScenarioError, listing what exists, if there is none."""
    if name not in BEHAVIOURS:
        raise ScenarioError(f"no behaviour called {name!r}; there are {', '.join(BEHAVIOURS)}")
    return BEHAVIOURS[name]
