"""Were streams refused under much load, for some time, or always in the same share? Each has other causes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats, Mask
from streamgauge.harness.judge.verdict.findings.chance import ALPHA, divided, more_often, rank_sum
from streamgauge.harness.judge.verdict.findings.evidence import Evidence

_SHARP = 0.9  # Youden's J from which on the load, or the time, alone says which streams are refused
_FEWEST = 10  # refused streams that no answered one came between
_TIMES = 2.0  # as often from the threshold on: less is no growth
_ALIKE = 0.7  # of rank_sum, at the upper end of its interval: the refused streams met hardly more load than the others
_VARIED = 1.5  # times, from the lowest tenth of the load to the highest


@dataclass(frozen=True)
class _Load:
    """What the server had to do when each stream began, in a unit in which limits are set."""

    unit: str  # after a number: `open at once`
    column: Floats  # by stream


@dataclass(frozen=True)
class Grows:
    """Streams are refused far more often from a certain load on."""

    unit: str  # of the load, after a number: `open at once`, or `begun within …`
    begins: int  # the load from which on
    below: float  # share that is refused
    above: float
    youden: float  # how well it tells the refused from the answered: 1 without an error, 0 if it says nothing

    @property
    def is_sharp(self) -> bool:
        return self.youden >= _SHARP


class Share(NamedTuple):
    hits: int
    of: int  # > 0

    @property
    def value(self) -> float:
        return self.hits / self.of


@dataclass(frozen=True)
class Fixed:
    """Streams are refused as often under little load as under much."""

    unit: str
    middle: int  # about the median of the load
    below: Share  # that is refused
    above: Share


@dataclass(frozen=True)
class AtTimes:
    """Streams are refused in a part of the run, or in several, whatever the load is."""

    since: float  # s, of the first refused stream
    until: float  # of the last one


def pattern(evidence: Evidence, statuses: Sequence[int]) -> Grows | Fixed | AtTimes | None:
    """What the refusals with these HTTP statuses depend on; None if the load varied too little, or they are too few.

    The load is what a stream met when it began: how many others were open, and how many had begun within a second, ten
    seconds and a minute. Refusals grow with it if the refused streams met more of it than the answered ones (rank
    test, ALPHA divided by the number of units), and from the threshold on that divides both best (Kolmogorov, Smirnov)
    they are twice as often. They do not grow if a refused stream surely met more load than an answered one in less than
    70 % of all pairs, in each unit (95 %), although the load varied by half between its lowest and highest tenth.

    Users who are refused come again sooner, so that an outage raises the load. Hence the time comes first, if nearly
    all streams between the first and the last refused one were refused (Youden's J ≥ 0.9). It is the time as well if
    refusals do not grow with the load, and more of them directly follow another one than follow an answered stream
    (Fisher's exact test).
    """
    sample = evidence.sample
    # The others never came to the server, no answer came, or the run ended before they did.
    known = ~np.isnan(sample.http_status) & ~sample.text["outcome"].are("interrupted")
    refused = np.isin(sample.http_status, statuses)[known]
    if not refused.any() or refused.all():
        return None
    began = sample.due[known]
    times = AtTimes(float(began[refused].min()), float(began[refused].max()))
    if refused.sum() >= _FEWEST and _is_of_time(times, refused, began):
        return times
    loads = _loads(evidence, began)
    found = [grows for load in loads if (grows := _grows(load, refused, len(loads))) is not None]
    if found:
        return max(found, key=lambda each: each.youden)
    return times if _in_rows(refused, began) else _fixed(loads, refused)


def _loads(evidence: Evidence, began: Floats) -> list[_Load]:
    course = evidence.course
    within = {"a second": 1.0, "ten seconds": 10.0, "a minute": 60.0}
    begun = [_Load(f"begun within {word}", course.begun_before(began, each)) for word, each in within.items()]
    return [_Load("open at once", course.open_before(began)), *begun]


def _grows(load: _Load, refused: Mask, tests: int) -> Grows | None:
    ours, others = load.column[refused], load.column[~refused]
    if rank_sum(ours, others).p >= ALPHA / tests:
        return None
    begins, above_ours, above_others = divided(ours, others)
    is_above = load.column >= begins
    above, below = (_share(refused, each) for each in (is_above, ~is_above))
    if above < _TIMES * below:
        return None
    return Grows(load.unit, round(begins), below, above, above_ours - above_others)


def _is_of_time(times: AtTimes, refused: Mask, began: Floats) -> bool:
    then = (began >= times.since) & (began <= times.until)
    return bool(then[refused].mean() - then[~refused].mean() >= _SHARP) and not then.all()


def _in_rows(refused: Mask, began: Floats) -> bool:
    """Whether a refused stream follows another one more often than an answered one does, beyond chance."""
    in_order = refused[np.argsort(began, kind="stable")]
    before, after = in_order[:-1], in_order[1:]
    n, others = int(before.sum()), int((~before).sum())
    return more_often(int(after[before].sum()), n, int(after[~before].sum()), others) < ALPHA


def _share(refused: Mask, among: Mask) -> float:
    return float(refused[among].mean()) if among.any() else 0.0


def _fixed(loads: Sequence[_Load], refused: Mask) -> Fixed | None:
    varied = [load for load in loads if _varies(load)]
    if not varied or not all(_is_alike(load, refused) for load in loads):
        return None
    column = varied[0].column
    values = np.unique(column)  # at least two, as it varies
    middle = values[max(1, int(np.searchsorted(values, np.median(column))))]  # with some below
    below, above = (Share(int(refused[each].sum()), int(each.sum())) for each in (column < middle, column >= middle))
    return Fixed(varied[0].unit, round(float(middle)), below, above)


def _varies(load: _Load) -> bool:
    low, high = np.quantile(load.column, [0.1, 0.9])
    return bool(high >= _VARIED * max(low, 1))


def _is_alike(load: _Load, refused: Mask) -> bool:
    """By the normal approximation of the rank test."""
    n, m = int(refused.sum()), int((~refused).sum())
    above = rank_sum(load.column[refused], load.column[~refused]).above
    return above + 1.96 * math.sqrt((n + m + 1) / (12 * n * m)) < _ALIKE
