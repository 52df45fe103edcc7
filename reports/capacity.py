"""The page of a search for the capacity: the answer, what grew with the load, and every level that was visited."""

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from streamgauge.harness.capacity import outputs, sentences, usl
from streamgauge.harness.capacity.found import Found, Level, first_missed
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.judge.figures import figure, money, some
from streamgauge.reports.page import assemble
from streamgauge.reports.panel import Cell, Chart, Fact, Figure, Mark, Panel, Table, figure_or_never, plot, sentence

_MARKS = {"passed": "met", "missed": "missed", "undecided": "inconclusive"}
_GUIDE = 60  # points of a curve


def render(found: Found) -> str:
    """One self-contained HTML page."""
    panels = [_head(found), _by_load(found), *_gave_way(found), _levels(found)]
    return assemble(panels, f"{found.scenario}, capacity", f"run {found.run}", kind="capacity")


def _head(found: Found) -> Panel:
    first, *rest = sentences.answer(found)
    knee, way = found.knee, found.gave_way
    interval = "" if knee is None else f"{found.unit.plain(knee.low)}–{found.unit.plain(knee.high)}, approximate"
    facts = [
        Fact(
            "Proven",
            "–" if found.proven is None else found.unit.amount(found.proven),
            f"{found.confidence:.0%} confidence",
        ),
        Fact("Knee", "–" if knee is None else f"about {found.unit.plain(knee.at)}", interval),
        Fact("What gave way", "nothing" if way is None else f"the {'load generator' if way == 'generator' else way}"),
        Fact("Streams", f"{found.streams:,}", f"in {found.seconds:,.0f} s"),
    ]
    if found.cost is not None and found.currency is not None:
        facts.append(Fact("Cost", money(found.cost, found.currency)))
    return Panel(
        name="capacity",
        title=f"capacity of {found.scenario}",
        lead=first,
        facts=tuple(facts),
        notes=(*rest, f"Host: {found.host}"),
        status=outputs.status(found),
    )


# What grew with the load


def _by_load(found: Found) -> Panel:
    charts = [
        _chart(found, "Does the first token wait? P95 TTFT by load", "ms", lambda level: level.ttft_p95),
        _chart(found, "Do the gaps widen? P95 ITL by load", "ms", lambda level: level.itl_p95),
        _chart(found, "How many streams keep every rule? Good streams by load", "%", _good),
        _throughput(found),
        _chart(found, "How many streams fail? Errors by load", "%", _errors),
    ]
    law = _law(found)
    guide = "" if law is None else " The dashed line is the universal scalability law, a guide for the eye."
    return Panel(
        name="load",
        title="By load",
        lead=f"Each point is a visit to a level.{guide}",
        charts=tuple(charts),
        notes=("P95 counts a failed stream as one that never came, so a level where too many failed has no point.",),
    )


def _good(level: Level) -> float | None:
    return 100 * (1 - level.bad / level.streams) if level.streams else None


def _errors(level: Level) -> float | None:
    return None if level.error_rate is None else 100 * level.error_rate


def _chart(found: Found, caption: str, unit: str, value: Callable[[Level], float | None]) -> Chart:
    return Chart(caption, _figure(found, [(level, value(level)) for level in found.levels], unit))


def _throughput(found: Found) -> Chart:
    points = [(level, level.completions) for level in found.levels]
    caption = "Does more load bring more answers? Completions per second by load"
    law, guide = _law(found), []
    if law is not None:
        most = max(level.users for level in found.levels)
        loads = np.geomspace(1, most, _GUIDE).tolist() if most > 1 else [1.0]
        shown = [found.unit.shown(load) for load in loads]
        guide = [_line("scalability law", shown, [law.at(load) for load in loads], "muted", "dash")]
    return Chart(caption, _figure(found, points, "answers/s", guide))


def _law(found: Found) -> usl.Law | None:
    return usl.law([(level.users, level.completions or 0.0) for level in found.levels])


def _figure(
    found: Found, points: Sequence[tuple[Level, float | None]], unit: str, more: Sequence[go.Scatter] = ()
) -> Figure:
    seen = [(level, value) for level, value in points if value is not None]
    top = max((value for _, value in seen), default=1.0) * 1.05 or 1.0
    return plot(
        [*_knee(found, top), *more, *(_visits(found.unit, seen, verdict, unit) for verdict in _MARKS)],
        xaxis={"title": {"text": found.unit.axis}, "rangemode": "tozero"},
        yaxis={"title": {"text": unit}, "rangemode": "tozero"},
    )


def _visits(of: Unit, seen: Sequence[tuple[Level, float]], verdict: str, unit: str) -> go.Scatter:
    mine = [(of.shown(level.users), value) for level, value in seen if level.verdict.value == verdict]
    colour, symbol = {"passed": ("good", "circle"), "missed": ("bad", "x"), "undecided": ("p50", "diamond-open")}[
        verdict
    ]
    return go.Scatter(
        x=[load for load, _ in mine],
        y=[value for _, value in mine],
        name=verdict,
        mode="markers",
        marker={"color": f"var(--{colour})", "symbol": symbol, "size": 9},
        hovertemplate=f"%{{x:,.3g}} {of.axis}: %{{y:,.3g}} {unit}, {verdict}<extra></extra>",
    )


def _knee(found: Found, top: float) -> list[go.Scatter]:
    """The proven level and the knee as upright lines, and the knee's interval as an area."""
    traces = []
    if found.knee is not None:
        low, high = found.unit.shown(found.knee.low), found.unit.shown(found.knee.high)
        traces.append(
            go.Scatter(
                x=[low, low, high, high],
                y=[0, top, top, 0],
                mode="lines",
                line={"width": 0},
                fill="tozeroy",
                fillcolor="var(--fill)",
                name="knee, interval",
                hoverinfo="skip",
            )
        )
        traces.append(_line("knee", [found.unit.shown(found.knee.at)] * 2, [0, top], "p50", "dot"))
    if found.proven is not None:
        traces.append(_line("proven", [found.unit.shown(found.proven)] * 2, [0, top], "good", "solid"))
    return traces


def _line(name: str, x: Sequence[float], y: Sequence[float], colour: str, dash: str) -> go.Scatter:
    line = {"color": f"var(--{colour})", "dash": dash, "width": 2}
    return go.Scatter(
        x=[*x], y=[*y], name=name, mode="lines", line=line, hovertemplate=f"{name}: %{{x:,.3g}}<extra></extra>"
    )


# What gave way, and the levels


def _gave_way(found: Found) -> list[Panel]:
    level = first_missed(found)
    if level is None:
        return []
    rows = [
        (
            Mark(rule.status),
            rule.rule,
            "never" if rule.observed is None and not rule.kept else figure(rule.observed, rule.unit),
            figure(rule.limit, rule.unit),
        )
        for rule in level.rules
    ]
    lead = " ".join(sentences.what_gave_way(found))
    table = Table(f"Rules at {found.unit.amount(level.users)}", ("Status", "Rule", ">Observed", ">Limit"), [*rows])
    notes = (
        "Each rule alone, with its own 95 % interval. The search asks of each stream whether it keeps all of them.",
    )
    return [Panel("gave-way", "What gave way", lead, tables=(table,), notes=notes)]


def _levels(found: Found) -> Panel:
    columns = (
        "Verdict",
        ">Load",
        "Visit",
        ">Streams",
        ">Worth",
        ">Bad",
        ">P95 TTFT",
        ">P95 ITL",
        ">Answers/s",
        ">Errors",
        "Why",
    )
    rows: list[tuple[Cell, ...]] = [
        (
            Mark(_MARKS[level.verdict]),
            found.unit.plain(level.users),
            level.purpose.value,
            f"{level.streams:,}",
            f"{level.effective:,.0f}",
            figure(level.bad / level.streams, "ratio") if level.streams else "–",
            figure_or_never(level.ttft_p95, "ms"),
            figure_or_never(level.itl_p95, "ms"),
            figure(level.completions, "streams/s").removesuffix(" streams/s"),
            figure(level.error_rate, "ratio"),
            outputs.why(level),
        )
        for level in found.levels
    ]
    counted = f"{some(len(found.levels), 'visit')} to {some(len({level.users for level in found.levels}), 'level')}"
    return Panel(
        name="levels",
        title="Levels",
        lead=sentence(counted),
        tables=(Table("Visits in the order of time", columns, rows, sortable=True),),
        notes=(
            "Worth: how many independent streams tell as much. On the way up (climb) nothing is proved, so each stream "
            "counts; inside the bracket (bisect) and again (confirm) only independent ones do.",
        ),
    )
