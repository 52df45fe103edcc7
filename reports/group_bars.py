"""The figures behind "who has it worst" as bars, for a phone, where the chart of all groups is screens away."""

from collections.abc import Iterator
from typing import NamedTuple

from markupsafe import Markup

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.reports.course_svg import limits_of
from streamgauge.reports.material import Material
from streamgauge.reports.worst import FREEZE_MS, failures, gave_up, interval_of_lost, lost

_KINDS = ("Network", "User class")
_MOST = 5  # groups of a kind: those that have it worst
_LONGEST_NAME = 30  # characters
_WIDE = 100  # units of a bar's drawing
_MOST_BEYOND = 1.5  # times the highest figure: an interval that is wider is cut there


_CAPTIONS = {
    "lost": "Share of the streams that failed, or whose person gave up before the first token",
    "longest_stall": "P95 of the longest wait in mid-answer",
    "ttft": "P95 TTFT",
}


class _Bar(NamedTuple):
    name: str
    value: float  # ms, or a ratio
    interval: Interval
    unit: str


def draw(run: Material) -> Markup | None:
    """What `worst_off` looks at first, by network and by user class, the worst first; None without two groups."""
    of = _compared(run)
    by_kind = [sorted(_bars(run, kind, of), key=lambda bar: -bar.value)[:_MOST] for kind in _KINDS]
    several = [bars for bars in by_kind if len(bars) > 1]
    bars = [bar for each in several for bar in each]
    if not bars:
        return None
    most = max(bar.value for bar in bars) or 1.0
    limit = dict(limits_of(run.judgement.verdicts, of)).get("P95")
    scale = _WIDE / min(max(most, limit or 0.0, *(bar.interval.high or 0.0 for bar in bars)), _MOST_BEYOND * most)
    mark = _mark(limit, scale)
    lists = (Markup("<dl>{}</dl>").format(Markup("").join(_row(bar, scale, mark) for bar in each)) for each in several)
    open_ended = "; to an edge where its end is not known" if any(None in bar.interval for bar in bars) else ""
    template = Markup('<div class="group-bars"><p>{}; the line is its 95 % interval{}{}</p>{}</div>')
    return template.format(_CAPTIONS[of], open_ended, _about_limit(limit, mark), Markup("").join(lists))


def _mark(limit: float | None, scale: float) -> Markup:
    """Where a bar reaches the limit; nothing if that is beyond the picture."""
    if limit is None or limit * scale > _WIDE:
        return Markup("")
    return Markup('<path class="limit" d="M{:.1f} 0V10"/>').format(limit * scale)


def _about_limit(limit: float | None, mark: Markup) -> str:
    if limit is None:
        return ""
    dotted = "the dotted line" if mark else "not in the picture"
    return f"; the limit for all streams, {figure(limit, 'ms')}, is {dotted}"


def _compared(run: Material) -> str:
    """One of _CAPTIONS."""
    if failures(run) or gave_up(run):
        return "lost"
    return "longest_stall" if (run.judgement.metrics["longest_stall"].quantiles.p95 or 0.0) >= FREEZE_MS else "ttft"


def _bars(run: Material, kind: str, of: str) -> Iterator[_Bar]:
    for facet in run.facets:
        if facet.kind != kind or facet.is_told:
            continue
        name = visible(shortened(facet.name, _LONGEST_NAME))
        if of == "lost":
            if facet.totals.ended:
                yield _Bar(name, lost(facet.totals) / facet.totals.ended, interval_of_lost(facet.totals), "ratio")
        elif (p95 := facet.metrics[of].quantiles.p95) is not None:
            yield _Bar(name, p95, facet.metrics[of].intervals.p95, "ms")


def _row(bar: _Bar, scale: float, mark: Markup) -> Markup:
    low, high = bar.interval
    until = _WIDE if high is None else min(high * scale, _WIDE)
    return Markup(
        '<div><dt>{}</dt><dd><svg viewBox="0 0 {} 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{:.1f}" height="10"/><path d="M{:.1f} 5H{:.1f}"/>{}</svg>{}</dd></div>'
    ).format(bar.name, _WIDE, bar.value * scale, (low or 0.0) * scale, until, mark, figure(bar.value, bar.unit))
