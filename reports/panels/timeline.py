"""TTFT and ITL while the run went on, with the users behind them, and when streams failed."""

import plotly.graph_objects as go

from harness.judge.figures import NONE, figure
from reports.material import Course, Material, Timeline, is_spread
from reports.panel import Cell, Chart, Panel, Table, drawn, some, span, whole_steps

FEW = 10  # streams a point: with fewer, its P95 is no news
_FAILURES = ("var(--bad)", "var(--bad-2)", "var(--bad-3)", "var(--bad-4)")
_NOTE = (
    "A point is {}. TTFT is shown at the time its stream was due, a gap at the time it ended. Values over time are "
    "within 0.5 %; where a point has few streams, its P95 is the slowest of them."
)


def draw(run: Material) -> Panel:
    timeline = run.timeline
    charts = [
        _course(timeline, course, title)
        for title, course in (("TTFT", timeline.ttft), ("ITL", timeline.itl))
        if any(course.n)
    ]
    if timeline.failed:
        charts.append(_failed(timeline))
    return Panel(
        name="timeline",
        title="Over time",
        lead=_lead(timeline),
        charts=tuple(charts),
        tables=(_table(timeline),) if any(timeline.streams) else (),
        notes=(_NOTE.format(span(timeline.width)),) if charts else (),
    )


def _lead(timeline: Timeline) -> str:
    course = list(zip(timeline.starts, timeline.ttft.p95, timeline.ttft.n, strict=True))
    enough = min(FEW, max(timeline.ttft.n, default=0))
    bins = [(start, value) for start, value, n in course if value is not None and n >= enough]
    if not bins:
        return "No stream had a first token at any time."
    worst_at, worst = max(bins, key=lambda one: one[1])
    if len(bins) == 1:
        return f"Only the time from {_clock(worst_at)} on had first tokens enough to speak of."
    best_at, best = min(bins, key=lambda one: one[1])
    with_users = ""
    if timeline.users:
        with_users = f", with {timeline.users[timeline.starts.index(worst_at)]:,.0f} users"
    return (
        f"P95 TTFT was highest at {_clock(worst_at)} ({figure(worst, 'ms')}{with_users}) "
        f"and lowest at {_clock(best_at)} ({figure(best, 'ms')})."
    )


def _clock(seconds: float) -> str:
    """`0:05`, `12:30`, `1:02:30` since the run began."""
    whole = int(seconds)
    hours = f"{whole // 3600}:{whole % 3600 // 60:02d}" if whole >= 3600 else f"{whole // 60}"
    return f"{hours}:{whole % 60:02d}"


def _course(timeline: Timeline, course: Course, title: str) -> Chart:
    at = [start + timeline.width / 2 for start in timeline.starts]
    traces = []
    if timeline.users:
        traces.append(
            go.Scatter(
                x=at, y=timeline.users, name="users", yaxis="y2", mode="lines", fill="tozeroy",
                line={"color": "var(--users)", "width": 1, "shape": "hvh"}, fillcolor="var(--users-fill)",
                hovertemplate="%{y:,.0f} users<extra></extra>",
            )
        )  # fmt: skip
    for quantile, values in (("p95", course.p95), ("p50", course.p50)):
        said = [figure(value, "ms") for value in values]
        traces.append(
            go.Scatter(
                x=at, y=values, name=quantile.upper(), mode="lines+markers", connectgaps=False, text=said,
                line={"color": f"var(--{quantile})", "width": 2, "dash": "solid"},
                marker={"size": 5, "symbol": "diamond" if quantile == "p95" else "circle"},
                hovertemplate=f"{quantile.upper()} %{{text}}<extra></extra>",
            )
        )  # fmt: skip
    spread = is_spread([*course.p50, *course.p95], 30)
    scale: dict[str, object] = {"type": "log", "dtick": 1} if spread else {"rangemode": "tozero"}
    layout: dict[str, object] = {"yaxis": {"title": {"text": "ms"}, **scale}}
    if timeline.users:
        # The lines are drawn over the users, who take the lower part of the picture.
        layout["yaxis"] = {"title": {"text": "ms"}, **scale, "overlaying": "y2", "tickmode": "auto"}
        top = 1.25 * max(1.0, *timeline.users)
        layout["yaxis2"] = {"title": {"text": "users"}, "side": "right", "range": [0, top], "nticks": 4,
                            "showgrid": False, "zeroline": False}  # fmt: skip
    return Chart(
        f"{title} over time, P50 and P95" + (", with the number of users" if timeline.users else ""),
        drawn(traces, xaxis=_time(timeline), hovermode="x unified", **layout),
        wide=True,
    )


def _time(timeline: Timeline) -> dict[str, object]:
    end = timeline.starts[-1] + timeline.width
    step = next((step for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600) if end / step <= 8), 7200)
    ticks = [place * step for place in range(int(end // step) + 1)]
    return {"range": [0, end], "tickvals": ticks, "ticktext": [_clock(tick) for tick in ticks], "showgrid": False}


def _failed(timeline: Timeline) -> Chart:
    at = [start + timeline.width / 2 for start in timeline.starts]
    step = whole_steps(max(map(sum, zip(*timeline.failed.values(), strict=True))))
    traces = [
        go.Bar(
            x=at,
            y=counts,
            name=outcome.replace("_", " "),
            marker={"color": _FAILURES[place % len(_FAILURES)]},
            hovertemplate=f"{outcome.replace('_', ' ')}: %{{y}}<extra></extra>",
        )
        for place, (outcome, counts) in enumerate(timeline.failed.items())
    ]
    return Chart(
        "Failed streams by outcome, at the time that they were due",
        drawn(
            traces,
            barmode="stack",
            bargap=0.15,
            hovermode="x unified",
            showlegend=True,
            xaxis=_time(timeline),
            yaxis={"title": {"text": "streams"}, "rangemode": "tozero", "dtick": step},
        ),
        height=220,
        wide=True,
    )


def _table(timeline: Timeline) -> Table:
    columns = ["From", ">Users", ">Streams due", ">Failed", ">TTFT P50", ">P95", ">ITL P50", ">P95", ">Gaps"]
    rows: list[tuple[Cell, ...]] = []
    for place, start in enumerate(timeline.starts):
        rows.append(
            (
                _clock(start) if timeline.width >= 1 else f"{start:g} s",
                f"{timeline.users[place]:,.0f}" if timeline.users else NONE,
                f"{timeline.streams[place]:,}",
                f"{sum(counts[place] for counts in timeline.failed.values()):,}",
                *(figure(course[place], "ms") for course in (timeline.ttft.p50, timeline.ttft.p95)),
                *(figure(course[place], "ms") for course in (timeline.itl.p50, timeline.itl.p95)),
                f"{timeline.itl.n[place]:,}",
            )
        )
    return Table(f"Over time, by {span(timeline.width)}: {some(len(rows), 'row')}", tuple(columns), rows)
