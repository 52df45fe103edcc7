"""What is shown of a run while it goes on, in the terminal and in Locust's web UI: one value for both. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streamgauge.harness.record.failure import Failure
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.record.vitals import Vital
from streamgauge.harness.run.latest import Figures
from streamgauge.harness.run.process_summary import ProcessSummary

# Vitals that show whether the generator keeps up, each with the value from which it is too much.
_LEVELS: Mapping[Vital, tuple[str, float]] = {
    Vital.PYTHON_PERCENT: ("Python {:,.0f} % of a core", 90.0),
    Vital.LOOP_LAG: ("loop lag {:,.0f} ms", 50.0),
    Vital.CPU_WAIT: ("waited for a core {:,.0f} %", 5.0),
}
_COUNTS: Mapping[Vital, str] = {  # none should occur
    Vital.LATE_CONNECTIONS: "{:,.0f} late connections",
    Vital.STARVED_STREAMS: "{:,.0f} streams without a socket",
    Vital.DROPPED_ARRIVALS: "{:,.0f} arrivals dropped: more users are needed",
    Vital.OWN_FAULTS: "{:,.0f} faults in the record",
}


class Health(NamedTuple):
    """One sign of whether the load generator keeps up, of the process in which it is worst."""

    text: str
    fine: bool


@dataclass(frozen=True)
class View:
    scenario: str
    host: str
    seconds: float  # since the run began
    ends: float | None  # s after its beginning; None: unknown
    warm_up: float  # s that are left of it; 0 without one
    users: int
    active: int  # streams
    outcomes: Counter[Outcome]  # so far
    failures: Sequence[Failure]  # the most frequent ones so far
    figures: Figures
    health: Sequence[Health]


def health(processes: Iterable[ProcessSummary]) -> list[Health]:
    """Empty until the first process has sent its vitals."""
    latest = [process.latest for process in processes]
    found = []
    for vital, (text, most) in _LEVELS.items():
        worst = max((each[vital] for each in latest if vital in each), default=None)
        if worst is not None:
            found.append(Health(text.format(worst), worst < most))
    counts = {vital: sum(each.get(vital, 0.0) for each in latest) for vital in _COUNTS}
    return found + [Health(_COUNTS[vital].format(count), fine=False) for vital, count in counts.items() if count]


def active(processes: Iterable[ProcessSummary]) -> int:
    """Streams under way."""
    return int(sum(process.latest.get(Vital.ACTIVE_STREAMS, 0.0) for process in processes))
