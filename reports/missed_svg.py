"""What the first screen draws in place of TTFT where TTFT kept its rules: failures, or answers that stood still."""

from collections.abc import Sequence

from markupsafe import Markup

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.measure.rates import OF_FAILURES, OF_ONE_KIND
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.reports.course_svg import Box, axes, svg
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Picture, clock

_STALLS = frozenset({"stall_count", "stall_time", "longest_stall", "stall_ratio"})  # figures of rules
_ON_THE_WIRE = {"server_paused", "lone_stalls"}  # findings: the link had no part in it
_FAILED = "When did streams fail? Share of those that were due"
_STILL = "When did answers stand still? Share of those under way that got nothing for 250 ms"
_NOTICED = "From 250 ms on, people notice it; a rule may allow a longer wait"


def draw(run: Material) -> Picture | None:
    """The share of the streams, over time, that failed or stood still; None unless a missed rule is about that."""
    if run.judgement.verdict != "missed":
        return None
    missed = {each.figure for each in run.judgement.verdicts if each.status is RuleStatus.MISSED}
    if run.timeline.failed and missed & (OF_FAILURES | OF_ONE_KIND.keys()):
        return _bars(run, _FAILED, _failed(run))
    if missed <= _STALLS and any(finding.id in _ON_THE_WIRE for finding in run.judgement.findings):
        return _bars(run, _STILL, _still(run))
    return None


def _failed(run: Material) -> list[float]:
    timeline = run.timeline
    return [n / max(1, due) for n, due in zip(timeline.failures, timeline.streams, strict=True)]


def _still(run: Material) -> list[float]:
    course = run.judgement.evidence.course
    silent, receiving = (run.timeline.counted(each, course) for each in (course.silent, course.receiving))
    return [n / max(1, all_of_them) for n, all_of_them in zip(silent, receiving, strict=True)]


def _bars(run: Material, caption: str, shares: Sequence[float]) -> Picture:
    timeline, percents = run.timeline, [100 * share for share in shares]
    box = Box(timeline.ends, min(100.0, 1.12 * max(percents)) or 100.0)
    bars = [
        Markup('<path class="bad" d="M{} {}V{}H{}V{}z"><title>{}</title></path>').format(
            box.x(start),
            box.y(0),
            box.y(percent),
            box.x(min(start + 0.9 * timeline.width, timeline.ends)),
            box.y(0),
            f"{clock(start)}: {figure(percent / 100, 'ratio')}",
        )
        for start, percent in zip(timeline.starts, percents, strict=True)
        if percent
    ]
    key = _NOTICED if caption == _STILL else ""
    label = f"{caption}, over time: at most {figure(max(shares), 'ratio')}"
    return Picture(caption, svg(label, [*axes(box, lambda percent: f"{percent:g} %"), *bars]), key, of_all=True)
