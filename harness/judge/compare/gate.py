"""What the regression gate watches: [regression] of the config, parsed once. Pure.

Runs are compared by y: the logarithm of a figure, or for a share the figure itself, signed so that larger is worse. So
a margin is one number, whatever the metric's unit. `GatedMetric` converts to y and back.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

import msgspec
import numpy as np

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.metrics import Better
from streamgauge.harness.judge.measure.statistics import Values
from streamgauge.harness.judge.verdict import subjects
from streamgauge.harness.judge.verdict.subjects import Subject

_RARE, _SAMPLES_FOR_RARE = 0.99, 5_000  # from this quantile on, each run needs this many samples

_NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class RunFigure(NamedTuple):
    """One gated metric of one run. A file of a baseline has it as an array, in this order."""

    value: _NotNegative | None  # in the metric's unit; None: +∞, since too many streams failed
    samples: _NotNegative  # about how many independent ones


@dataclass(frozen=True)
class GatedMetric:
    """A metric that may not get worse, and how much worse is tolerated."""

    subject: Subject
    margin: float  # in y: a smaller change is not reported
    may_hide: float  # in y: OK needs runs that rule out a larger regression

    @property
    def clear(self) -> float:
        """In y: the first runs are clear if they rule out a larger change."""
        return min(self.margin, self.may_hide)

    @property
    def sign(self) -> int:
        return -1 if self.subject.better is Better.HIGHER else 1

    @property
    def is_share(self) -> bool:
        return self.subject.unit == "ratio"

    @property
    def fewest_samples(self) -> int:
        """How many independent samples each run must have."""
        q = self.subject.quantile
        if q is None:
            return 1
        return _SAMPLES_FOR_RARE if q >= _RARE else statistics.samples_for_quantile(q, 1) or 1

    def scaled(self, figures: Sequence[RunFigure]) -> Values:
        """The y of each run."""
        values = np.array([math.inf if each.value is None else each.value for each in figures], np.float64)
        with np.errstate(divide="ignore"):
            return self.sign * (values if self.is_share else np.log(values))

    def unscaled(self, y: float) -> float:
        """The inverse of `scaled`. For a difference of two y it gives the ratio of the figures, or their difference."""
        return self.sign * y if self.is_share else math.exp(self.sign * y)


@dataclass(frozen=True)
class Gate:
    metrics: tuple[GatedMetric, ...]  # in the order of the config
    test: str  # as in config.schema.Regression
    window: int  # a candidate is compared with at most this many of the newest accepted runs
    first_runs: int  # of stage 1, at most
    fresh_runs: int  # of stage 2
    fewest_baseline_runs: int

    @classmethod
    def of(cls, settings: Regression) -> Self:
        """RuleError for a metric that does not exist."""
        return cls(
            metrics=tuple(_gated(text, settings) for text in settings.metrics),
            test=settings.test,
            window=settings.window,
            first_runs=settings.first_runs,
            fresh_runs=settings.fresh_runs,
            fewest_baseline_runs=settings.fewest_baseline_runs,
        )


def _gated(text: str, settings: Regression) -> GatedMetric:
    subject = subjects.parse(text)
    if subject.unit == "ratio":
        return GatedMetric(subject, settings.margin_points, settings.may_hide_points)
    return GatedMetric(subject, math.log1p(settings.margin), math.log1p(settings.may_hide))
