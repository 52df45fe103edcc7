"""TTFT over time as a small SVG for the top of the page: it is there before any script has run."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from markupsafe import Markup

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict
from streamgauge.reports.facets import Facet
from streamgauge.reports.material import Material, Timeline
from streamgauge.reports.panel import Picture, clock
from streamgauge.reports.series import Series

_WIDTH, _HEIGHT = 640, 230  # units of the drawing; the page scales it
_LEFT, _RIGHT, _TOP, _BOTTOM = 94, 10, 18, 26
_MOST_ABOVE = 3  # a limit this many times as large as the highest P95 would flatten the lines: it is only named


_CAPTION = "How long did the first token take over time?"
_KEY = Markup('<span class="key p50">P50</span> <span class="key p95">P95</span>')
_LIMIT = Markup(' <span class="key limit">limit of {}: {}{}</span>')
_UNTOLD = Markup(' <span class="key hole">most had none yet when the run ended</span>')
_FEW = 60  # streams of a point: its P95 is one of the three slowest


def draw(run: Material) -> Picture | None:
    """P50 and P95 of TTFT by the due time, and the limits that rules set for them; None without a first token."""
    drawn = _drawn(run.timeline, run.timeline.ttft, limits_of(run.judgement.verdicts, "ttft"))
    peaks = _peaks(run)
    return drawn._replace(key=drawn.key + Markup(" <span>{}</span>").format(peaks)) if drawn and peaks else drawn


def _peaks(run: Material) -> str:
    """Why the line of the P95 is above a limit that the run keeps: a point of it is of few streams. "" if it is not."""
    course, timeline = run.timeline.ttft.until(run.timeline.told), run.timeline
    known = [(value, n) for value, n in zip(course.p95, course.n, strict=True) if value is not None]
    for rule in run.judgement.verdicts:
        is_kept = rule.status is RuleStatus.MET and rule.where == Where() and rule.wants_low
        above = [n for value, n in known if value > rule.limit]
        if rule.figure != "ttft" or rule.subject.quantile != 0.95 or not is_kept or not above:
            continue
        few = f"{min(above):,}" if min(above) == max(above) else f"{min(above):,} to {max(above):,}"
        enough = ", where a few slow ones are enough" if max(above) < _FEW else ""
        return (
            f"{len(above):,} of {some(len(known), 'point')} are above the limit, each the P95 of the {few} streams of "
            f"{timeline.width:g} s{enough}; the limit is for the P95 of all {some(rule.n, 'stream')}."
        )
    return ""


def of_facet(run: Material, facet: Facet) -> Picture | None:
    """The same for a part of the run. The rules for all streams say nothing about a part, so no limit is drawn."""
    return _drawn(replace(run.timeline, warm_up=None), facet.ttft, [])


def _drawn(timeline: Timeline, course: Series, limits: Sequence[tuple[str, float]]) -> Picture | None:
    course = course.until(timeline.told)
    values = [value for value in (*course.p95, *course.p50) if value is not None]
    if not values:
        return None
    within = [limit for limit in limits if limit[1] <= _MOST_ABOVE * max(values)]
    top = 1.12 * max(*values, *(value for _, value in within))
    box = Box(timeline.ends, top)
    parts = [
        *_warm_up(timeline, box),
        *_holes(timeline, course, box),
        *_untold(timeline, box),
        *axes(box, _label),
        _line(box, timeline, course.p95, "p95"),
        _line(box, timeline, course.p50, "p50"),
        *(_drawn_limit(box, *limit) for limit in within),
    ]
    said = "; ".join(
        [
            f"highest P95 {figure(max(values), 'ms')}",
            *(f"limit of {' '.join(_told(limit))}" for limit in limits),
        ]
    )
    label = f"TTFT over time, P50 and P95: {said}"
    return Picture(_CAPTION, svg(label, parts), _key(limits, within) + (_UNTOLD if timeline.untold else ""))


def _key(limits: Sequence[tuple[str, float]], within: Sequence[tuple[str, float]]) -> Markup:
    """What the lines are. The names of the limits are here because in the drawing they could cover a line."""
    named = (_LIMIT.format(*_told(limit), "" if limit in within else ", above this chart") for limit in limits)
    return _KEY + Markup("").join(named)


def _told(limit: tuple[str, float]) -> tuple[str, str]:
    return limit[0], figure(limit[1], "ms")


def svg(label: str, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="course" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, label, Markup("").join(parts)
    )


class Box:
    """Maps seconds, and values up to `top`, to the drawing."""

    def __init__(self, seconds: float, top: float) -> None:
        self.seconds, self.top = seconds, top

    def x(self, seconds: float) -> str:
        return f"{_LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / self.seconds:.1f}"

    def y(self, value: float) -> str:
        return f"{_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / self.top:.1f}"


def limits_of(verdicts: Sequence[Verdict], metric: str) -> list[tuple[str, float]]:
    """The limits for a metric of all streams, by what of it they limit: `P95`."""
    return [
        ((verdict.subject.aggregation or "").upper(), verdict.limit)
        for verdict in verdicts
        if verdict.figure == metric and verdict.where == Where()
    ]


def axes(box: Box, label: Callable[[float], str]) -> Iterator[Markup]:
    step = _step(box.top)
    for number in range(int(box.top / step) + 1):
        value = number * step
        yield Markup('<path class="grid" d="M{} {}H{}"/><text x="{}" y="{}" text-anchor="end">{}</text>').format(
            _LEFT, box.y(value), _WIDTH - _RIGHT, _LEFT - 8, float(box.y(value)) + 4, label(value)
        )
    for seconds, anchor in ((0.0, "start"), (box.seconds / 2, "middle"), (box.seconds, "end")):
        yield Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
            box.x(seconds), _HEIGHT - 8, anchor, clock(seconds)
        )


def _label(ms: float) -> str:
    """Short, since a phone shows it in large letters: `500 ms`, `2 s`, `2.5 s`."""
    return "0" if not ms else f"{ms:g} ms" if ms < 1_000 else f"{ms / 1_000:g} s"


def _step(top: float) -> float:
    """1, 2 or 5 times a power of ten, for two to five lines."""
    size = 10.0 ** len(f"{top:.0f}") / 100
    return next(size * each for each in (1, 2, 5, 10, 20, 50) if top <= 5 * size * each)


def _line(box: Box, timeline: Timeline, course: Sequence[float | None], name: str) -> Markup:
    """A line with a gap where a bin has no sample, and a dot at each bin beside two gaps."""
    steps, dots, before = [], [], False
    for place, value in enumerate(course):
        if value is not None:
            at = box.x(timeline.starts[place] + timeline.width / 2), box.y(value)
            steps.append(f"{'L' if before else 'M'}{at[0]} {at[1]}")
            alone = not before and (place + 1 == len(course) or course[place + 1] is None)
            dots += [Markup('<circle class="{}" cx="{}" cy="{}" r="3"/>').format(name, *at)] if alone else []
        before = value is not None
    return Markup('<path class="{}" d="{}"/>').format(name, "".join(steps)) + Markup("").join(dots)


def _drawn_limit(box: Box, name: str, limit: float) -> Markup:
    return Markup('<path class="limit" d="M{} {}H{}"><title>limit of {}: {}</title></path>').format(
        _LEFT, box.y(limit), _WIDTH - _RIGHT, *_told((name, limit))
    )


def _warm_up(timeline: Timeline, box: Box) -> Iterator[Markup]:
    if timeline.warm_up is not None:
        width = float(box.x(min(timeline.warm_up.seconds, box.seconds))) - _LEFT
        yield Markup('<rect class="warm-up" x="{}" y="{}" width="{}" height="{}"/>').format(
            _LEFT, _TOP, width, _HEIGHT - _TOP - _BOTTOM
        )


def _untold(timeline: Timeline, box: Box) -> Iterator[Markup]:
    """Shades the end of a run in which most streams have no first token: the line of the others would fall."""
    if timeline.untold:
        yield _shaded(box, timeline.starts[timeline.told], box.seconds, timeline.untold)


def _shaded(box: Box, start: float, end: float, why: str) -> Markup:
    width = float(box.x(end)) - float(box.x(start))
    return Markup('<rect class="hole" x="{}" y="{}" width="{:.1f}" height="{}"><title>{}</title></rect>').format(
        box.x(start), _TOP, width, _HEIGHT - _TOP - _BOTTOM, why
    )


def _holes(timeline: Timeline, course: Series, box: Box) -> Iterator[Markup]:
    """Shades the bins without a first token between two that have some, so that a gap is not read as 0."""
    begins = timeline.warm_up.seconds if timeline.warm_up is not None else 0.0
    known = [place for place, value in enumerate(course.p95) if value is not None]
    for before, after in itertools.pairwise(known):
        start, end = max(begins, timeline.starts[before] + timeline.width), timeline.starts[after]
        if end > start:
            yield _shaded(box, start, end, f"no first token from {clock(start)} to {clock(end)}")
