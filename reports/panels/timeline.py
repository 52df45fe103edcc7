"""Over time: TTFT and ITL with the number of users, E2E, what came each second, and failures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import plotly.graph_objects as go

from streamgauge.harness.judge.figures import NONE, figure, some, span
from streamgauge.harness.judge.verdict.findings.evidence import Course as Counts
from streamgauge.reports.material import Course, Material, Timeline
from streamgauge.reports.panel import Cell, Chart, Panel, Table, clock, plot, scale, whole_steps
from streamgauge.reports.series import Series

_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)  # s
FEW = 10  # streams per point; with fewer, its P95 means little
_LOW = 240  # CSS pixels
_SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_ROUNDED_UP = 0.9995  # of a unit: three digits of the smaller one would be 1,000
_FAILURES = ("var(--bad)", "var(--bad-2)", "var(--bad-3)", "var(--bad-4)")
_NOTE = (
    "A point is {}. TTFT is shown at the time its stream was due, a gap at the time it ended. Values over time are "
    "within 0.5 %; if a point has few streams, its P95 is the slowest of them. Bytes are those of the bodies, each "
    "spread evenly from the headers to the end of its answer."
)


def draw(run: Material) -> Panel:
    timeline = run.timeline
    warm_up = timeline.warm_up
    completed = _completed(timeline, run.judgement.evidence.course)
    courses = (
        ("TTFT", timeline.ttft.until(timeline.told), warm_up.ttft if warm_up else None),
        ("ITL", timeline.itl, warm_up.itl if warm_up else None),
    )
    charts = [
        _course(timeline, course, warming, title)
        for title, course, warming in courses
        if any(course.n) or (warming is not None and any(warming.n))
    ]
    charts += _small(timeline, completed, run.judgement.took)
    if timeline.failed:
        charts.append(_failed(timeline))
    return Panel(
        name="timeline",
        title="Over time",
        lead=_lead(timeline),
        charts=tuple(charts),
        tables=_tables(timeline, completed),
        notes=(
            *((_NOTE.format(span(timeline.width)),) if charts else ()),
            *_untold(timeline),
            *_of_warm_up(timeline.warm_up),
        ),
    )


def _untold(timeline: Timeline) -> tuple[str, ...]:
    if not timeline.untold:
        return ()
    last = span(timeline.width * (len(timeline.starts) - timeline.told))
    if not any(timeline.ttft.n[timeline.told :]):
        return (f"The last {last} have no TTFT: {timeline.untold}.",)
    why = f"{timeline.untold}, and those that had one are the quickest"
    return (f"The charts leave out the TTFT of the last {last}: {why}. The table has what there is of it.",)


def _of_warm_up(warm_up: Course | None) -> tuple[str, ...]:
    if warm_up is None:
        return ()
    streams = f"{some(sum(warm_up.streams), 'stream')}, {sum(warm_up.failed):,} failed"
    return (f"Grey is the warm-up, the first {span(warm_up.seconds)}: {streams}. They are in no other figure.",)


def _lead(timeline: Timeline) -> str:
    ttft = timeline.ttft.until(timeline.told)
    course = list(zip(timeline.starts, ttft.p95, ttft.n, strict=True))
    enough = min(FEW, max(ttft.n, default=0))
    bins = [(start, value) for start, value, n in course if value is not None and n >= enough]
    if not bins:
        return "No stream had a first token at any time."
    worst_at, worst = max(bins, key=lambda one: one[1])
    if len(bins) == 1:
        return f"Only the time from {clock(worst_at)} on had enough first tokens for a P95."
    best_at, best = min(bins, key=lambda one: one[1])
    with_users = ""
    if timeline.users:
        with_users = f", with {some(round(timeline.users[timeline.starts.index(worst_at)]), 'user')}"
    of = f", where {enough:,} or more streams tell it," if any(0 < n < enough for n in ttft.n) else ""
    return (
        f"P95 TTFT{of} was highest at {clock(worst_at)} ({figure(worst, 'ms')}{with_users}) "
        f"and lowest at {clock(best_at)} ({figure(best, 'ms')})."
    )


def _course(timeline: Timeline, course: Series, warming: Series | None, title: str) -> Chart:
    at = [start + timeline.width / 2 for start in timeline.starts]
    traces = []
    if timeline.users:
        traces.append(
            go.Scatter(
                x=[0, *at, timeline.starts[-1] + timeline.width],
                y=[timeline.users[0], *timeline.users, timeline.users[-1]],
                name="users", mode="lines", fill="tozeroy",
                line={"color": "var(--users)", "width": 1, "shape": "hvh"}, fillcolor="var(--users-fill)",
                hovertemplate="%{y:,.0f} users<extra></extra>",
            )
        )  # fmt: skip
    traces += _quantiles(at, course, "y2" if timeline.users else "y")
    shown = [*course.p50, *course.p95]
    if warming is not None:
        shown += warming.p95
        traces.append(
            go.Scatter(
                x=at, y=warming.p95, yaxis="y2" if timeline.users else "y", name="P95 in the warm-up",
                text=[figure(value, "ms") for value in warming.p95], mode="lines+markers", connectgaps=False,
                line={"color": "var(--neutral)", "width": 1, "dash": "dot"}, marker={"size": 5, "symbol": "x"},
                hovertemplate="P95 in the warm-up %{text}<extra></extra>",
            )
        )  # fmt: skip
    axis = {"title": {"text": "ms"}, **scale(shown, 30)}
    layout: dict[str, object] = {"yaxis": axis, "shapes": _greyed(timeline.warm_up)}
    if timeline.users:
        # The second axis is drawn on top, so it holds the lines; the first one holds the users, with its own ticks.
        users = {"title": {"text": "users"}, "range": [0, 1.25 * max(1.0, *timeline.users)], "nticks": 4}
        layout["yaxis"] = {**users, "side": "right", "showgrid": False, "zeroline": False}
        layout["yaxis2"] = {**axis, "side": "left", "overlaying": "y", "tickmode": "auto"}
    return Chart(
        f"How did {title} change over time" + (", and with the number of users?" if timeline.users else "?"),
        plot(traces, xaxis=_time(timeline), hovermode="x unified", hoverdistance=-1, **layout),
        wide=True,
    )


def _quantiles(at: list[float], course: Series, axis: str) -> list[go.Scatter]:
    return [
        go.Scatter(
            x=at, y=values, yaxis=axis, name=quantile.upper(), text=[figure(value, "ms") for value in values],
            mode="lines+markers", connectgaps=False,
            line={"color": f"var(--{quantile})", "width": 2},
            marker={"size": 5, "symbol": "diamond" if quantile == "p95" else "circle"},
            hovertemplate=f"{quantile.upper()} %{{text}}<extra></extra>",
        )
        for quantile, values in (("p95", course.p95), ("p50", course.p50))
    ]  # fmt: skip


def _completed(timeline: Timeline, counts: Counts) -> list[int] | None:
    """How many answers were complete in each bin; None if the bins are finer than what was counted."""
    if timeline.width < 2 * counts.width:
        return None
    return timeline.counted(counts.completed, counts)


def _small(timeline: Timeline, completed: list[int] | None, took: float) -> list[Chart]:
    """Those that stand side by side: E2E, and what came each second."""
    seconds = [timeline.width] * len(timeline.starts)
    seconds[-1] = max(took - timeline.starts[-1], timeline.width / 2)  # the last bin holds the rest
    charts = [_answers(timeline)] if any(timeline.e2e.n) else []
    if completed is not None and any(timeline.streams):
        lines = {"due": (timeline.streams, "p95", "solid"), "completed": (completed, "p50", "dash")}
        charts.append(
            _a_second("How many streams were due each second, and how many completed?", timeline, seconds, lines)
        )
    if any(timeline.itl.n):
        lines = {"chunks": (timeline.itl.n, "p95", "solid")}
        charts.append(_a_second("How many chunks came each second, of all streams together?", timeline, seconds, lines))
    if received := sum(timeline.received):
        title = f"How many kilobytes of answers came each second? {_size(received)} in all"
        kilobytes = [amount / 1e3 for amount in timeline.received]
        charts.append(_a_second(title, timeline, seconds, {"kilobytes": (kilobytes, "p95", "solid")}))
    return charts if len(charts) > 1 else [replace(chart, wide=True) for chart in charts]


def _answers(timeline: Timeline) -> Chart:
    """By the time of the end, as other tools draw it: by the due time, the last bins would lack the slow answers."""
    at = [start + timeline.width / 2 for start in timeline.starts]
    course = timeline.e2e
    drawing = plot(
        _quantiles(at, course, "y"), hovermode="x unified", hoverdistance=-1, shapes=_greyed(timeline.warm_up),
        xaxis=_time(timeline), yaxis={"title": {"text": "ms"}, **scale([*course.p50, *course.p95], 30)},
    )  # fmt: skip
    return Chart("How long did complete answers take that ended then? E2E", drawing, height=_LOW)


def _size(n: float) -> str:
    """`950 B`, `12.3 kB`, `4.56 MB`, `12,340 GB`."""
    unit, name = next((each for each in _SIZES if n >= _ROUNDED_UP * each[0]), (1.0, "B"))
    amount = n / unit
    return f"{amount:,.0f} {name}" if unit == 1 or amount >= 999 else f"{amount:,.3g} {name}"


def _a_second(
    title: str, timeline: Timeline, seconds: list[float], lines: Mapping[str, tuple[Sequence[float], str, str]]
) -> Chart:
    traces = [
        go.Scatter(
            x=[start + timeline.width / 2 for start in timeline.starts],
            y=[n / each for n, each in zip(counted, seconds, strict=True)],
            name=name, mode="lines", line={"color": f"var(--{colour})", "width": 2, "dash": dash},
            hovertemplate=f"{name} %{{y:,.3g}}/s<extra></extra>",
        )
        for name, (counted, colour, dash) in lines.items()
    ]  # fmt: skip
    axes = {"xaxis": _time(timeline), "yaxis": {"title": {"text": "a second"}, "rangemode": "tozero"}}
    drawing = plot(
        traces, hovermode="x unified", hoverdistance=-1, showlegend=len(lines) > 1, shapes=_greyed(timeline.warm_up),
        **axes,
    )  # fmt: skip
    return Chart(title, drawing, height=_LOW)


def _greyed(warm_up: Course | None) -> list[dict[str, object]]:
    """A grey field behind the time of the warm-up."""
    if warm_up is None:
        return []
    return [{"type": "rect", "x0": 0, "x1": warm_up.seconds, "yref": "paper", "y0": 0, "y1": 1, "layer": "below",
             "fillcolor": "var(--users-fill)", "line": {"width": 0}}]  # fmt: skip


def _time(timeline: Timeline) -> dict[str, object]:
    end = timeline.starts[-1] + timeline.width
    step = next((step for step in _TICKS if end / step <= 8), end)
    ticks = [place * step for place in range(int(end // step) + 1)]
    return {"range": [0, end], "tickvals": ticks, "ticktext": [clock(tick) for tick in ticks], "showgrid": False,
            "unifiedhovertitle": {"text": "%{x:,.0f} s after the start"}}  # fmt: skip


def _failed(timeline: Timeline) -> Chart:
    at = [start + timeline.width / 2 for start in timeline.starts]
    step = whole_steps(max(timeline.failures))
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
        "When did streams fail, and how?",
        plot(
            traces,
            barmode="stack",
            bargap=0.15,
            hovermode="x unified",
            hoverdistance=-1,
            showlegend=True,
            xaxis=_time(timeline),
            yaxis={"title": {"text": "streams"}, "rangemode": "tozero", "dtick": step},
            shapes=_greyed(timeline.warm_up),
        ),
        height=220,
        wide=True,
    )


def _tables(timeline: Timeline, completed: list[int] | None) -> tuple[Table, ...]:
    warming = timeline.warm_up
    end = warming.seconds if warming is not None else 0.0
    measured = [start + timeline.width > end for start in timeline.starts]  # not in the warm-up as a whole
    tables = [_table(timeline, measured, completed)] if any(timeline.streams) else []
    if warming is not None and any(warming.streams):
        table = _table(
            replace(
                timeline,
                ttft=warming.ttft,
                itl=warming.itl,
                e2e=warming.e2e,
                received=warming.received,
                streams=warming.streams,
                failed={"": warming.failed},
                cut_off=[0] * len(timeline.starts),  # counted in the measured time only
            ),
            [
                bool(streams or gaps or came)
                for streams, gaps, came in zip(warming.streams, warming.itl.n, warming.received, strict=True)
            ],
            None,
        )
        tables.append(
            replace(table, caption=f"The warm-up, which is in no other figure: {some(len(table.rows), 'row')}")
        )
    return tuple(tables)


def _table(timeline: Timeline, shown: list[bool], completed: list[int] | None) -> Table:
    columns = [
        "From",
        ">Users",
        ">Streams due",
        ">Completed",
        ">Failed",
        ">TTFT P50",
        ">P95",
        ">ITL P50",
        ">P95",
        ">Gaps",
        ">E2E P50",
        ">P95",
        ">Received",
    ]
    failures, rows = timeline.failures, list[tuple[Cell, ...]]()
    for place, start in enumerate(timeline.starts):
        if not shown[place]:
            continue
        rows.append(
            (
                clock(start) if timeline.width >= 1 else f"{start:g} s",
                f"{timeline.users[place]:,.0f}" if timeline.users else NONE,
                f"{timeline.streams[place]:,}",
                NONE if completed is None else f"{completed[place]:,}",
                f"{failures[place]:,}",
                *(_first_token(timeline, place, course) for course in (timeline.ttft.p50, timeline.ttft.p95)),
                *(figure(course[place], "ms") for course in (timeline.itl.p50, timeline.itl.p95)),
                f"{timeline.itl.n[place]:,}",
                *(figure(course[place], "ms") for course in (timeline.e2e.p50, timeline.e2e.p95)),
                _size(timeline.received[place]),
            )
        )
    return Table(f"Over time, by {span(timeline.width)}: {some(len(rows), 'row')}", tuple(columns), rows)


def _first_token(timeline: Timeline, place: int, course: Sequence[float | None]) -> str:
    """`430 ms`; `none yet` where all that could still come were waiting when the run ended."""
    waits = timeline.cut_off[place] and not timeline.ttft.n[place]
    return "none yet" if waits else figure(course[place], "ms")
