"""What the person does with the answer. Pure: a behaviour draws a plan before its stream starts, so that the same
seed leaves at the same moments whatever the server does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from harness.errors import ScenarioError


@dataclass(frozen=True, slots=True)
class Plan:
    """When and how the person leaves. Nothing set: reads to the end."""

    leave_after: int | None = None  # ns from the stream's due time
    leave_after_chunks: int | None = None  # content chunks on the wire
    abort: bool = False  # RST instead of FIN


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
            "stop_button",
            "presses stop when 5 to 60 chunks have come, then asks on",
            lambda random: Plan(leave_after_chunks=random.randint(5, 60)),
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
    ]
}


def find(name: str) -> Behaviour:
    """The behaviour of that name. ScenarioError, listing what exists, if there is none."""
    if name not in BEHAVIOURS:
        raise ScenarioError(f"no behaviour called {name!r}; there are {', '.join(BEHAVIOURS)}")
    return BEHAVIOURS[name]
