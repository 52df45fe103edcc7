"""The history page: P95 TTFT by run with accepted baselines and change points, and the spread of TTFT by day."""

import math

import plotly.graph_objects as go

from streamgauge.harness.judge.compare.history import EDGES_MS, Day, History, Point
from streamgauge.harness.judge.figures import change, figure, money, some
from streamgauge.reports.page import assemble
from streamgauge.reports.panel import (
    Cell,
    Chart,
    Fact,
    Panel,
    Table,
    figure_or_never,
    interval_of,
    plot,
    scale,
    sentence,
)

_SHADES = ("var(--good)", "var(--p50)", "var(--p95)", "var(--p99)", "var(--bad)")


def render(history: History) -> str:
    """One self-contained HTML page."""
    newest = history.points[-1].run
    panels = [_head(history), _by_run(history), _by_day(history)]
    return assemble(panels, newest.scenario, f"{some(len(history.points), 'run')} up to {newest.id}")


def _head(history: History) -> Panel:
    last = history.points[-1]
    changes = [point for point in history.points if point.change is not None]
    last_change = Fact("Last change", "none found")
    if changes:
        last_change = Fact("Last change", _change(changes[-1]), f"since {_when(changes[-1])}")
    left_out = f"{some(history.others, 'run')} of other work left out: only runs of the same work compare"
    return Panel(
        name="trend",
        title=f"trend of {last.run.scenario}",
        lead=f"{some(len(history.points), 'run')} on {some(len(history.days), 'day')}.",
        facts=(
            Fact("P95 TTFT of the newest run", figure_or_never(last.p95, "ms"), interval_of(last.interval, "ms")),
            last_change,
            Fact("Accepted runs", f"{sum(bool(point.baselines) for point in history.points):,}"),
        ),
        notes=(sentence(left_out),) if history.others else (),
    )


def _by_run(history: History) -> Panel:
    points = history.points
    numbered = list(enumerate(points, 1))
    traces = [
        _dots("run", "p95", "circle", numbered),
        _dots("accepted", "good", "diamond", [one for one in numbered if one[1].baselines]),
        _dots("change point", "bad", "triangle-up", [one for one in numbered if one[1].change is not None]),
    ]
    traces[0].mode = "lines+markers"
    axis = {"title": {"text": "ms"}, **scale([point.p95 for point in points], 50)}
    chart = Chart(
        caption="Did the first token become slower? P95 TTFT by run, oldest first",
        figure=plot(traces, xaxis={"title": {"text": "run"}}, yaxis=axis),
        wide=True,
    )
    changed = [point for point in points if point.change is not None]
    lead = "; ".join(f"{_change(point)} from {_when(point)} on" for point in changed)
    rows: list[tuple[Cell, ...]] = [
        (*_row(place, point), *(_cost(point) if history.priced else ()), point.run.id) for place, point in numbered
    ]
    columns = (
        ">run",
        "started (UTC)",
        "commit",
        ">streams",
        ">P50",
        ">P95",
        ">95 % interval",
        "accepted",
        "change",
        *(["cost", "cost per 1,000 answers"] if history.priced else []),
        "id",
    )
    return Panel(
        name="runs",
        title="By run",
        lead=sentence(lead) if lead else "No lasting change was changed.",
        charts=(chart,),
        tables=(Table("P95 TTFT by run", columns, rows),),
        notes=(
            "At a change point, the runs before and after lie on different levels: fewer than 1 % of random orders of "
            "the same runs have a change as clear. Failed streams count as infinitely late.",
        ),
    )


def _dots(name: str, colour: str, symbol: str, numbered: list[tuple[int, Point]]) -> go.Scatter:
    """Markers; a run whose P95 is infinite leaves a gap."""
    return go.Scatter(
        x=[number for number, _ in numbered],
        y=[None if point.p95 is None or math.isinf(point.p95) else point.p95 for _, point in numbered],
        name=name,
        mode="markers",
        line={"color": f"var(--{colour})"},
        marker={"color": f"var(--{colour})", "symbol": symbol, "size": 7 if symbol == "circle" else 12},
        text=[f"{_when(point)}: {figure(point.p95, 'ms')}" for _, point in numbered],
        hovertemplate="%{text}<extra></extra>",
    )


def _row(place: int, point: Point) -> tuple[Cell, ...]:
    return (
        f"{place}",
        _when(point),
        point.run.labels.get("commit", "")[:12],
        f"{point.streams:,}",
        figure_or_never(point.p50, "ms"),
        figure_or_never(point.p95, "ms"),
        interval_of(point.interval, "ms"),
        ", ".join(point.baselines),
        "" if point.change is None else _change(point),
    )


def _cost(point: Point) -> tuple[Cell, ...]:
    if point.cost is None:
        return ("", "")
    return money(point.cost.total, point.cost.currency), money(point.cost.per_thousand, point.cost.currency)


def _by_day(history: History) -> Panel:
    used = [place for place in range(len(EDGES_MS) + 1) if any(day.counts[place] for day in history.days)]
    places = list(range(used[0], used[-1] + 1)) if used else []
    dates = [day.date for day in history.days]
    shares = [[_share(day, day.counts[place]) for day in history.days] for place in places]
    # Five colours from fast to slow; the last one is also used for failures, which have their own bar.
    traces = [
        _bars(_bucket(place), dates, values, _SHADES[min(number * 4 // max(len(places), 1), 3)])
        for number, (place, values) in enumerate(zip(places, shares, strict=True))
    ]
    if any(day.failed for day in history.days):
        traces.append(_bars("failed", dates, [_share(day, day.failed) for day in history.days], _SHADES[-1]))
    rows: list[tuple[Cell, ...]] = [
        (day.date, *(f"{day.counts[place]:,}" for place in places), f"{day.failed:,}") for day in history.days
    ]
    layout = {"barmode": "stack", "yaxis": {"title": {"text": "% of streams"}}, "xaxis": {"type": "category"}}
    return Panel(
        name="days",
        title="By day",
        lead="How long the first token took, for all streams of a day (UTC).",
        charts=(Chart("How long did the first token take, day by day?", plot(traces, **layout), wide=True),),
        tables=(Table("Streams by TTFT", ("day", *(f">{_bucket(place)}" for place in places), ">failed"), rows),),
    )


def _bars(name: str, dates: list[str], values: list[float], colour: str) -> go.Bar:
    return go.Bar(
        x=dates,
        y=values,
        name=name,
        marker={"color": colour, "line": {"width": 1, "color": "var(--card)"}},
        hovertemplate=f"%{{x}}, {name}: %{{y:.1f}} %<extra></extra>",
    )


def _share(day: Day, count: int) -> float:
    return 100 * count / max(sum(day.counts) + day.failed, 1)


def _bucket(place: int) -> str:
    if place == len(EDGES_MS):
        return f"over {_edge(place - 1)}"
    return f"to {_edge(place)}"


def _edge(place: int) -> str:
    value = EDGES_MS[place]
    return figure(value / 1_000, "s") if value >= 1_000 else figure(value, "ms")


def _when(point: Point) -> str:
    return point.run.started_at[:16].replace("T", " ")


def _change(point: Point) -> str:
    return change(point.change or 1.0, "ms")
