"""A run's warm-up: the time at its beginning whose streams are stored, and are in no figure.

`store.measured` decides which streams belong to it; here is what is told of them.
"""

from dataclasses import dataclass

from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.measure.cost import cost_of, prices_of
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.record.observation import FAILURES


@dataclass(frozen=True)
class WarmUp:
    seconds: float
    outcomes: dict[str, int]  # of the streams that were due in it
    cost: float | None = None  # of these streams; None: unknown

    @property
    def streams(self) -> int:
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        return sum(self.outcomes.get(outcome, 0) for outcome in FAILURES)

    def sentence(self) -> str:
        counted = f"{some(self.streams, 'stream')}, {self.failed:,} failed"
        return f"warm-up: {counted}; they were due in the first {self.seconds:.3g} s, and are in no figure"


def warm_up_of(store: Store, run: Run, took: float) -> WarmUp | None:
    """None if the run had no warm-up. `took`: how long it took, s."""
    if run.measured_from is None:
        return None
    return WarmUp(min(run.measured_from / 1e9, took), store.warm_up_outcomes(run.id), _cost(store, run))


def _cost(store: Store, run: Run) -> float | None:
    prices = prices_of(run.config)
    if prices is None:
        return None
    measurements = Measurements(only=())
    for streams in store.warm_up(run.id):
        measurements.take(streams)
    cost = cost_of(measurements.totals(), prices)
    return cost.total if cost else None
