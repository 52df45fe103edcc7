"""The history page: P50 and P95 of TTFT by run with levels, accepted runs and releases, and its spread by day."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta

import numpy as np
import plotly.graph_objects as go

from streamgauge.harness.judge.compare.history import EDGES_MS, FINE_MS, STEPS, Day, History, Point
from streamgauge.harness.judge.figures import change, figure, money, some
from streamgauge.harness.judge.measure.arrays import Integers
from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.reports.page import assemble
from streamgauge.reports.panel import (
    Cell,
    Chart,
    Fact,
    Link,
    Panel,
    Table,
    figure_or_never,
    interval_of,
    label,
    plot,
    scale,
    sentence,
)

_MOST_RELEASES = 24  # names above the chart, the newest
_MOST_COLUMNS = 120  # days side by side; with more, a column is a week or a month
_ROWS_OF_A_DOUBLING = 8  # of the density
_FEWEST_DAYS = 7  # that have room on an axis
_FEWEST_TIMES = 8  # how many times the smallest time the largest one is, on an axis
_NOTE = (
    "At a change point, the runs before and after lie on different levels: fewer than 1 % of random orders of "
    "the same runs have a change as clear. Failed streams count as infinitely late."
)


def render(history: History, links: Mapping[str, str] | None = None) -> str:
    """One self-contained HTML page. `links`: the address of each run's report, by the run's id, where there is one."""
    newest = history.points[-1].run
    panels = [_head(history), _by_run(history, links or {}), by_day(history.days, "streams")]
    source = f"{some(len(history.points), 'run')} up to {newest.id}"
    return assemble(panels, newest.scenario, source, kind="history")


def _head(history: History) -> Panel:
    last = history.points[-1]
    changed = _changed(history)
    last_change = Fact("Last change", "none found")
    if changed:
        last_change = Fact("Last change of P95", _by(changed[-1].change), f"since {_told(changed[-1])}")
    left_out = f"{some(history.others, 'run')} of other work left out: only runs of the same work compare"
    return Panel(
        name="trend",
        title=f"trend of {last.run.scenario}",
        lead=_lead(history),
        facts=(
            Fact("P95 TTFT of the newest run", figure_or_never(last.p95, "ms"), interval_of(last.interval, "ms")),
            Fact("P50 TTFT", figure_or_never(last.p50, "ms"), some(last.streams, "stream")),
            last_change,
            Fact("Accepted runs", f"{sum(bool(point.baselines) for point in history.points):,}"),
        ),
        notes=(sentence(left_out),) if history.others else (),
    )


def _changed(history: History) -> list[Point]:
    return [point for point in history.points if point.change is not None]


def _lead(history: History) -> str:
    """What matters most: the level of today, and since when."""
    over = f"{some(len(history.points), 'run')} on {some(len(history.days), 'day')}"
    changed = _changed(history)
    if not changed:
        return f"P95 TTFT shows no lasting change in {over}."
    last = changed[-1]
    level, way = figure(last.level, "ms"), "up" if (last.change or 1.0) > 1 else "down"
    return f"P95 TTFT is about {level} since {_told(last)}, {way} by {_by(last.change).lstrip('+-')}. In all {over}."


def _told(point: Point) -> str:
    """When, and which build: `2026-11-24 09:02 (v1.2)`."""
    build = point.release or point.run.labels.get("commit", "")[:12]
    return f"{_when(point)}{f' ({shortened(build, 30)})' if build else ''}"


# By run


def _by_run(history: History, links: Mapping[str, str]) -> Panel:
    numbered = list(enumerate(history.points, 1))
    changed = [
        (number, value, by)
        for number, point in numbered
        for value, by in ((point.p95, point.change), (point.p50, point.change_p50))
        if by is not None
    ]
    traces = [
        *_levels("P95", [(number, point.level) for number, point in numbered], "p95"),
        *_levels("P50", [(number, point.level_p50) for number, point in numbered], "p50"),
        _line("P95", "p95", "solid", "diamond", numbered),
        _line("P50", "p50", "dash", "circle", numbered),
        _marks(
            "accepted", "good", "square-open", [(number, point.p95) for number, point in numbered if point.baselines]
        ),
        _marks("change point", "bad", "triangle-up", [(number, value) for number, value, _ in changed]),
    ]
    shapes, names = _releases(numbered)
    chart = Chart(
        caption="Did the first token become slower? P50 and P95 TTFT by run, oldest first, with their levels",
        figure=plot(
            [trace for trace in traces if len(trace.x)],
            xaxis={"title": {"text": "run"}, **_ticks(numbered)},
            yaxis={"title": {"text": "ms"}, **scale([value for point in history.points for value in
                                                      (point.p50, point.p95)], 50)},
            shapes=shapes,
            annotations=names,
            margin={"t": 28} if names else {},
        ),
        height=340,
        wide=True,
    )  # fmt: skip
    told = "; ".join(f"P95 {_by(point.change)} from {_told(point)} on" for point in _changed(history))
    return Panel(
        name="runs",
        title="By run",
        lead=sentence(told) if told else "No lasting change was found.",
        charts=(chart,),
        tables=(Table("TTFT by run", _columns(history), [*_rows(history, numbered, links)], sortable=True),),
        notes=(_NOTE,),
    )


def _line(name: str, colour: str, dash: str, symbol: str, numbered: Sequence[tuple[int, Point]]) -> go.Scatter:
    """A run whose figure is infinite leaves a gap."""
    values = [point.p95 if name == "P95" else point.p50 for _, point in numbered]
    texts = [
        f"{name} {figure_or_never(value, 'ms')}<br>{label(_told(point), 50)}<br>{label(point.run.id, 50)}"
        for (_, point), value in zip(numbered, values, strict=True)
    ]
    return go.Scatter(
        x=[number for number, _ in numbered], y=[_finite(value) for value in values], name=name, mode="lines+markers",
        line={"color": f"var(--{colour})", "width": 1.5, "dash": dash}, marker={"size": 7, "symbol": symbol},
        text=texts, hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _levels(name: str, levels: Sequence[tuple[int, float | None]], colour: str) -> Iterator[go.Scatter]:
    """A wide line at each level, from half a run before its first run to half a run behind its last."""
    x: list[float | None] = []
    y: list[float | None] = []
    before = None
    for number, level in levels:
        if level is None:
            continue
        if level != before:
            x, y = [*x, None, number - 0.5], [*y, None, level]
        x, y = [*x, number + 0.5], [*y, level]
        before = level
    yield go.Scatter(
        x=x, y=y, mode="lines", name=f"level of {name}", hoverinfo="skip", showlegend=False, opacity=0.3,
        line={"color": f"var(--{colour})", "width": 7},
    )  # fmt: skip


def _marks(name: str, colour: str, symbol: str, places: Sequence[tuple[int, float | None]]) -> go.Scatter:
    return go.Scatter(
        x=[number for number, _ in places], y=[_finite(value) for _, value in places], mode="markers", name=name,
        marker={"color": f"var(--{colour})", "symbol": symbol, "size": 13, "line": {"width": 2}}, hoverinfo="skip",
    )  # fmt: skip


def _releases(numbered: Sequence[tuple[int, Point]]) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """A dotted line and a name where another release begins."""
    begins = [
        (number, point.release)
        for (number, point), before in zip(numbered, [None, *(point for _, point in numbered)], strict=False)
        if point.release and (before is None or point.release != before.release)
    ][-_MOST_RELEASES:]
    shapes: list[dict[str, object]] = [
        {"type": "line", "x0": number - 0.5, "x1": number - 0.5, "y0": 0, "y1": 1, "yref": "paper", "layer": "below",
         "line": {"color": "var(--neutral)", "width": 1, "dash": "dot"}}
        for number, _ in begins
    ]  # fmt: skip
    names: list[dict[str, object]] = [
        {"x": number - 0.5, "y": 1, "yref": "paper", "text": label(release, 14), "showarrow": False,
         "xanchor": "left", "yanchor": "top", "textangle": 90 if len(begins) > 6 else 0,
         "font": {"size": 11, "color": "var(--muted)"}}
        for number, release in begins
    ]  # fmt: skip
    return shapes, names


def _ticks(numbered: Sequence[tuple[int, Point]]) -> dict[str, object]:
    step = -(-len(numbered) // 8)
    chosen = numbered[::step]
    return {
        "tickvals": [number for number, _ in chosen],
        "ticktext": [f"{number}<br>{label(_when(point)[:10])}" for number, point in chosen],
        "range": [0.4, len(numbered) + 0.6],
        "showgrid": False,
    }


def _columns(history: History) -> tuple[str, ...]:
    return (
        ">run", "started (UTC)", "release", "commit", ">streams", ">P50", ">P95", ">95 % interval", "accepted",
        "change of P50", "change of P95", *(["cost", "cost per 1,000 answers"] if history.priced else []), "report",
    )  # fmt: skip


def _rows(
    history: History, numbered: Sequence[tuple[int, Point]], links: Mapping[str, str]
) -> Iterator[tuple[Cell, ...]]:
    for number, point in numbered:
        address = links.get(visible(point.run.id))
        yield (
            f"{number}",
            _when(point),
            shortened(point.release, 40),
            point.run.labels.get("commit", "")[:12],
            f"{point.streams:,}",
            figure_or_never(point.p50, "ms"),
            figure_or_never(point.p95, "ms"),
            interval_of(point.interval, "ms"),
            ", ".join(point.baselines),
            "" if point.change_p50 is None else _by(point.change_p50),
            "" if point.change is None else _by(point.change),
            *(_cost(point) if history.priced else ()),
            Link(point.run.id, address) if address else point.run.id,
        )


def _cost(point: Point) -> tuple[Cell, ...]:
    if point.cost is None:
        return ("", "")
    return money(point.cost.total, point.cost.currency), money(point.cost.per_thousand, point.cost.currency)


# By day


def by_day(days: Sequence[Day], counted: str) -> Panel:
    """`counted`: what they are, as in `streams`."""
    used = [place for place in range(len(EDGES_MS) + 1) if any(day.counts[place] for day in days)]
    places = list(range(used[0], used[-1] + 1)) if used else []
    rows: list[tuple[Cell, ...]] = [
        (
            day.date,
            *(f"{day.counts[place]:,}" for place in places),
            f"{day.never:,}",
            figure_or_never(day.p50, "ms"),
            figure_or_never(day.p95, "ms"),
        )
        for day in days
    ]
    columns = ("day", *(f">{_bucket(place)}" for place in places), ">never", ">P50", ">P95")
    return Panel(
        name="days",
        title="By day",
        lead=f"TTFT of all {counted} of a day (UTC). "
        f"The stronger the colour, the larger its share of that day’s {counted}.",
        charts=tuple(_charts(days, counted)),
        tables=(Table(f"{counted.capitalize()} by TTFT", columns, rows),),
    )


def _charts(days: Sequence[Day], counted: str) -> Iterator[Chart]:
    columns = _joined(days)
    names = [name for name, _, _ in columns]
    if any(counts.any() for _, counts, _ in columns):
        traces = [_density(columns)]
        if len(days) == len(columns):
            traces += [
                go.Scatter(
                    x=names, y=[_finite(value) for value in values], name=name, mode="lines+markers",
                    line={"color": f"var(--{colour})", "width": 2, "dash": dash}, marker={"size": 5},
                    hovertemplate=f"{name} %{{y:,.4~g}} ms<extra></extra>",
                )
                for name, values, colour, dash in (
                    ("P95", [day.p95 for day in days], "server", "solid"),
                    ("P50", [day.p50 for day in days], "server", "dash"),
                )
            ]  # fmt: skip
        yield Chart(
            "How long did the first token take, day by day?",
            plot(traces, barmode="overlay", bargap=0.06, showlegend=len(traces) > 1,
                 xaxis=_axis_of_days(names), yaxis={"title": {"text": "ms"}, **_log_axis(columns)}),
            height=380,
            wide=True,
        )  # fmt: skip
    if any(never for _, _, never in columns):
        shares = [100 * never / max(1, int(counts.sum()) + never) for _, counts, never in columns]
        bars = go.Bar(
            x=names, y=shares, marker={"color": "var(--bad)"}, hovertemplate="%{x}: %{y:.2f} % never<extra></extra>",
        )  # fmt: skip
        yield Chart(
            f"What share of the {counted} failed, or was left before the first token, day by day?",
            plot([bars], xaxis=_axis_of_days(names),
                 yaxis={"title": {"text": "%"}, "rangemode": "tozero"}),
            height=180,
            wide=True,
        )  # fmt: skip


def _axis_of_days(names: Sequence[str]) -> dict[str, object]:
    """With room for a few days, so that a single one is no bar of the whole width."""
    return {"type": "category", "showgrid": False, "nticks": 10, "range": [-0.5, max(len(names), _FEWEST_DAYS) - 0.5]}


def _log_axis(columns: Sequence[tuple[str, Integers, int]]) -> dict[str, object]:
    """Of all cells, and wide enough for at least two ticks. plotly.js's own would be a lone 2 or 5, without zeros."""
    used = np.flatnonzero(sum(counts for _, counts, _ in columns))
    low, high = (FINE_MS[0] * 2 ** (place / STEPS) for place in (used[0] - 1, used[-1]))
    wider = max(1.1, math.sqrt(_FEWEST_TIMES * low / high))
    first, last = math.log10(low / wider), math.log10(high * wider)
    steps = (1, 2, 5) if high < 1_000 * low else (1,)
    ticks = [step * 10**power for power in range(math.floor(first), math.ceil(last)) for step in steps]
    shown = [tick for tick in ticks if first <= math.log10(tick) <= last]
    return {"type": "log", "range": [round(first, 4), round(last, 4)], "tickvals": shown, "tickformat": ","}


def _joined(days: Sequence[Day]) -> list[tuple[str, Integers, int]]:
    """(name, streams by FINE_MS, streams without one) of each day; of each week or month if there are very many."""
    found: list[tuple[str, Integers, int]] = []
    for name_of in (lambda day: day.date, _week, lambda day: f"{day.date[:7]}"):
        found = []
        for day in days:
            name, counts = name_of(day), np.array(day.fine, np.int64)
            if found and found[-1][0] == name:
                found[-1] = (name, found[-1][1] + counts, found[-1][2] + day.never)
            else:
                found.append((name, counts, day.never))
        if len(found) <= _MOST_COLUMNS:
            return found
    return found[-_MOST_COLUMNS:]


def _week(day: Day) -> str:
    """The week's Monday."""
    at = date.fromisoformat(day.date)
    return f"week of {(at - timedelta(at.weekday())).isoformat()}"


def _density(columns: Sequence[tuple[str, Integers, int]]) -> go.Bar:
    """A cell for each column and row that has streams, coloured by their share of the column's streams."""
    fine = STEPS // _ROWS_OF_A_DOUBLING
    names: list[str] = []
    bases: list[float] = []
    heights: list[float] = []
    shares: list[float] = []
    texts: list[str] = []
    for name, counts, failed in columns:
        cells = np.add.reduceat(counts, [0, *range(1, len(counts), fine)])
        for place in np.flatnonzero(cells).tolist():
            high = FINE_MS[0] * 2 ** (place / _ROWS_OF_A_DOUBLING)
            low = high * 2 ** (-1 / _ROWS_OF_A_DOUBLING)
            share = cells[place] / (int(counts.sum()) + failed)
            names.append(name)
            bases.append(float(f"{low:.5g}"))
            heights.append(float(f"{high - low:.5g}"))
            shares.append(round(float(np.sqrt(share)), 3))
            texts.append(
                f"{name}, {figure(low, 'ms')} to {figure(high, 'ms')}: {figure(float(share), 'ratio')} of "
                f"{some(int(counts.sum()) + failed, 'stream')}"
            )
    return go.Bar(
        x=names, y=heights, base=bases, text=texts, textposition="none", hovertemplate="%{text}<extra></extra>",
        marker={"color": shares, "line": {"width": 0},
                "colorscale": [[0, "var(--paper)"], [0.15, "var(--fill)"], [0.5, "var(--p50)"], [1, "var(--p99)"]],
                "cmin": 0},
        showlegend=False,
    )  # fmt: skip


def _bucket(place: int) -> str:
    if place == len(EDGES_MS):
        return f"over {_edge(place - 1)}"
    return f"to {_edge(place)}"


def _edge(place: int) -> str:
    return figure(EDGES_MS[place], "ms")


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value


def _when(point: Point) -> str:
    return point.run.started_at[:16].replace("T", " ")


def _by(ratio: float | None) -> str:
    return change(ratio or 1.0, "ms")
