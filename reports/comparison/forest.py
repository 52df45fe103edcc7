"""Changes as a forest plot: for each metric its change and 95 % interval on an axis that all share, and its margin.

A ratio is drawn by its logarithm, so that twice and half as much are equally far from no change. Shares have an axis of
their own, in percentage points. The drawings stretch to the page's width, so they hold no text.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from streamgauge.harness.judge.figures import NONE, change, changes, figure
from streamgauge.reports import html
from streamgauge.reports.comparison.changes import Change

WIDTH = 1_000  # units of every drawing
_APART = 0.17 * WIDTH  # of two marks: beside the facts, a drawing is about 240 pixels wide
_MOST = math.log(10)  # a change or interval beyond it runs to the edge
_PERCENT = (1, 2, 5, 10, 20, 50)  # steps of the axis
_WIDE = (-90, -75, -50, 0, 100, 300, 900)  # its marks where no step gives few enough


class _Axis(NamedTuple):
    low: float
    high: float
    marks: list[tuple[float, str]]  # (place, text)

    def at(self, place: float) -> float:
        inside = min(max(place, self.low), self.high)
        return WIDTH * (inside - self.low) / (self.high - self.low)


def draw(rows: Sequence[Change]) -> Markup:
    """Escaped HTML; rows without a change have no mark."""
    groups = []
    for name, mine in (
        ("change", [row for row in rows if not row.metric.is_share]),
        ("change in points", [row for row in rows if row.metric.is_share]),
    ):
        if mine:
            axis = _axis(mine)
            groups.append((name, [_told(row, axis) for row in mine], _marks(axis)))
    return Markup(html.template("forest.html.jinja").render(groups=groups))  # noqa: S704 - of our own template, which escapes


def _told(row: Change, axis: _Axis) -> dict[str, object]:
    return {
        "subject": row.subject,
        "figures": f"{figure(row.before, row.unit)} → {figure(row.after, row.unit)}",
        "change": NONE if row.change is None else change(row.change, row.unit),
        "interval": changes(row.interval, row.unit),
        "status": row.status or "",
        "picture": _track(row, axis),
    }


def _place(value: float, row: Change) -> float:
    if row.metric.is_share:
        return 100 * value
    return math.log(value) if value > 0 else -math.inf


def _ends(row: Change) -> tuple[float, float]:
    """Of the interval; an end that is not known lies beyond the axis."""
    low, high = row.interval
    return -math.inf if low is None else _place(low, row), math.inf if high is None else _place(high, row)


def _margin(row: Change) -> float:
    return 100 * row.metric.margin if row.metric.is_share else row.metric.margin


def _axis(rows: Sequence[Change]) -> _Axis:
    places = [end for row in rows for end in (*_ends(row), *([] if row.change is None else [_place(row.change, row)]))]
    known = [place for place in places if math.isfinite(place)]
    widest = 1.6 * max(_margin(row) for row in rows) or 1.0
    low, high = min(-widest, *known, -widest) * 1.08, max(widest, *known, widest) * 1.08
    if rows[0].metric.is_share:
        return _Axis(low, high, [(place, f"{place:+g}" if place else "0") for place in _points(low, high)])
    low, high = max(low, -_MOST), min(high, _MOST)
    percent = [(math.log1p(each / 100), f"{each:+d} %" if each else "0 %") for each in _percents(low, high)]
    return _Axis(low, high, [(place, text) for place, text in percent if low <= place <= high])


def _percents(low: float, high: float) -> Sequence[int]:
    """For at most seven marks, those of the smallest step that fits."""
    least, most = 100 * math.expm1(low), 100 * math.expm1(high)
    for step in _PERCENT:
        first, last = math.ceil(least / step), math.floor(most / step)
        if last - first < 7 and least > -60:
            return [each * step for each in range(first, last + 1)]
    return _WIDE


def _points(low: float, high: float) -> list[float]:
    size = 10.0 ** math.floor(math.log10(high - low))
    step = next(size * each for each in (0.1, 0.2, 0.5, 1, 2, 5) if (high - low) / (size * each) < 7)
    return [each * step for each in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _marks(axis: _Axis) -> list[tuple[str, str]]:
    """(place in percent of the width, text): the zero, and those that leave room for each other beside it."""
    shown: list[tuple[float, str]] = []
    marks = [(axis.at(place), text) for place, text in axis.marks]
    for place, text in sorted(marks, key=lambda mark: abs(mark[0] - axis.at(0))):
        if all(abs(place - other) >= _APART for other, _ in shown):
            shown.append((place, text))
    return [(f"{place / WIDTH * 100:.1f}", text) for place, text in sorted(shown)]


def _track(row: Change, axis: _Axis) -> Markup:
    return Markup(
        '<svg class="track" viewBox="0 0 {} 24" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(WIDTH, Markup("").join(_parts(row, axis)))


def _parts(row: Change, axis: _Axis) -> Iterator[Markup]:
    left, right = axis.at(-_margin(row)), axis.at(_margin(row))
    yield Markup('<rect class="margin" x="{:.1f}" y="0" width="{:.1f}" height="24"/>').format(left, right - left)
    yield Markup('<path class="zero" d="M{:.1f} 0V24"/>').format(axis.at(0))
    if row.change is None or math.isnan(row.change):
        return
    low, high = (axis.at(end) for end in _ends(row))
    if row.interval != (None, None):
        yield Markup('<path class="span" d="M{:.1f} 12H{:.1f}"/>').format(low, high)
    yield Markup('<path class="dot" d="M{:.1f} 12h0"/>').format(axis.at(_place(row.change, row)))
