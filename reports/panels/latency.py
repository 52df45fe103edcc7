"""TTFT and ITL by user class and by network."""

import plotly.graph_objects as go

from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.verdict.summary import Summary
from streamgauge.reports import facts
from streamgauge.reports.material import Material
from streamgauge.reports.panel import (
    Cell,
    Chart,
    Figure,
    Panel,
    Table,
    figure_or_never,
    interval_of,
    label,
    plot,
    scale,
)

MOST_ROWS = 24  # of a chart; the table has all rows
_SYMBOLS = {"p50": "circle", "p95": "diamond", "p99": "square"}
_KEYS = {
    "user": "User class",
    "network": "Network",
    "phase": "Phase",
    "cache": "Prompt cache",
    "answer": "Answer",
}
_TITLES = {"ttft": "TTFT", "itl": "ITL"}


def draw(run: Material) -> Panel:
    judgement = run.judgement
    ttft, itl = judgement.metrics["ttft"], judgement.metrics["itl"]
    lead = f"The first token came within {_three(ttft)}; later ones followed within {_three(itl)} of each other."
    return Panel(
        name="latency",
        title="First token and the gaps after it",
        lead=lead if ttft.n else "No stream had a first token.",
        percentiles=facts.percentiles("all streams", judgement.metrics) if _has(ttft) else None,
        charts=tuple(_by_part(run, name) for name in _TITLES if judgement.metrics[name].n),
        tables=tuple(_table(run, name) for name in _TITLES if _has(judgement.metrics[name])),
        notes=_notes(run) if _has(ttft) else (),
    )


def _has(seen: Summary) -> bool:
    return bool(seen.n or seen.failed)


def _three(metric: Summary) -> str:
    p50, p95, p99 = (figure(value, metric.unit) for value in metric.quantiles)
    return f"{p50} (P50), {p95} (P95) and {p99} (P99)"


def _by_part(run: Material, name: str) -> Chart:
    judgement = run.judgement
    rows: list[tuple[str, Summary | None]] = [("All streams", judgement.metrics[name])]
    for key, title in _KEYS.items():
        parts = [part for part in judgement.groups if part.key == key and part.metrics[name].n]
        shown = sorted(parts, key=lambda part: -part.totals.streams)[: MOST_ROWS // 2]
        rows += [(f"<b>{title}</b>", None)] if shown else []
        rows += [(label(part.name, 28), part.metrics[name]) for part in parts if part in shown]
    return Chart(
        f"Who has which {_TITLES[name]}? By user class and network",
        _ranges(rows),
        height=110 + 26 * len(rows),
    )


def _ranges(rows: list[tuple[str, Summary | None]]) -> Figure:
    """One line per row with its P50, P95 and P99. A row without a summary is a heading."""
    places = list(range(len(rows)))
    with_summary = [(place, name, seen) for place, (name, seen) in enumerate(rows) if seen is not None]
    line_x: list[float | None] = []
    line_y: list[int | None] = []
    for place, _, seen in with_summary:
        line_x += [seen.quantiles.p50, seen.quantiles.p99, None]
        line_y += [place, place, None]
    traces = [
        go.Scatter(x=line_x, y=line_y, mode="lines", line={"color": "var(--line)", "width": 3}, hoverinfo="skip",
                   showlegend=False)
    ]  # fmt: skip
    for at, (quantile, symbol) in enumerate(_SYMBOLS.items()):
        values = [seen.quantiles[at] for _, _, seen in with_summary]
        traces.append(
            go.Scatter(
                x=values,
                y=[place for place, _, _ in with_summary],
                mode="markers",
                name=quantile.upper(),
                marker={"symbol": symbol, "size": 10, "color": f"var(--{quantile})"},
                text=[f"{name}<br>{quantile.upper()} {figure(value, seen.unit)}"
                      for (_, name, seen), value in zip(with_summary, values, strict=True)],
                hovertemplate="%{text}<extra></extra>",
            )
        )  # fmt: skip
    values = [value for _, _, seen in with_summary for value in seen.quantiles]
    return plot(
        traces,
        xaxis={"title": {"text": "ms"}, **scale(values, 20)},
        yaxis={"tickvals": places, "ticktext": [name for name, _ in rows], "range": [len(rows) - 0.4, -0.6],
               "showgrid": False, "zeroline": False},
    )  # fmt: skip


def _table(run: Material, name: str) -> Table:
    judgement = run.judgement
    whole = judgement.metrics[name]
    columns = [
        "Streams",
        ">P50",
        ">P95",
        ">95 % interval of P95",
        ">P99",
        ">Min",
        ">Mean",
        ">Max",
        ">n, gaps" if name == "itl" else ">n, streams",
    ]
    if whole.failed:
        columns += [">Never came", ">P50 with these", ">P95 with these", ">P99 with these"]
    rows = [_row("all", whole, bool(whole.failed))]
    rows += [_row(f"{part.key} {part.name}", part.metrics[name], bool(whole.failed)) for part in judgement.groups]
    return Table(f"{_TITLES[name]} of what was observed", tuple(columns), rows)


def _row(name: str, seen: Summary, with_failures: bool) -> tuple[Cell, ...]:
    p50, p95, p99 = (figure(value, seen.unit) for value in seen.quantiles)
    extremes = (figure(value, seen.unit) for value in (seen.min, seen.mean, seen.max))
    row = (name, p50, p95, interval_of(seen.intervals.p95, seen.unit), p99, *extremes, f"{seen.n:,}")
    if not with_failures:
        return row
    return (*row, f"{seen.failed:,}", *(figure_or_never(value, seen.unit) for value in seen.gated))


def _without(run: Material) -> str:
    """Why streams had no first token: `59 left before it, 42 still waiting when the run ended`."""
    ttft = run.judgement.distributions["ttft"]
    left, waiting = int(run.judgement.totals.sum("gave_up")), int((ttft.elapsed >= 0).sum())
    ways = {
        "left before it": left,
        "still waiting when the run ended": waiting,
        "failed, or brought none": ttft.missing - left - waiting,
    }
    return ", ".join(f"{n:,} {way}" for way, n in ways.items() if n > 0)


def _notes(run: Material) -> tuple[str, ...]:
    judgement = run.judgement
    notes = [
        "TTFT counts from the moment a stream was due to its first text, thinking or tool input. ITL is every gap "
        "between two content chunks, pooled over streams. Both are perceived times: after the emulated link."
    ]
    failed, missing = judgement.metrics["ttft"].failed, judgement.metrics["ttft"].missing
    if missing:
        notes.append(
            f"{some(missing, 'stream')} had no first token: {_without(run)}. The plain figures are those of the others."
        )
    if failed:
        notes.append(
            f"With these, as rules are judged: {some(failed, 'stream')} that failed, or that a person left before "
            "the first token, count as never. A percentile reads “never” if it falls on one of these streams."
        )
    for rule in judgement.verdicts:
        if rule.figure == "ttft" and not rule.where.selected() and rule.waiting:
            notes.append(
                f"{rule.rule} counts {some(rule.waiting, 'stream')} more as never: beyond its limit, and still waiting "
                "when the run ended."
            )
    keys = {part.key for part in judgement.parts}
    if "cache" in keys:
        notes.append("Prompt cache: whether the server reported prompt tokens that it had read from its cache.")
    if "answer" in keys:
        notes.append(
            "Whole answers, which were not streamed, are in their own row only: their TTFT is the time to all of it."
        )
    if judgement.coalesced:
        share = figure(judgement.coalesced / judgement.totals.gaps, "ratio")
        notes.append(f"{some(judgement.coalesced, 'gap')} ({share}) are left out of ITL: the chunks arrived together.")
    if len({part.value for part in judgement.parts if part.key == "user"}) > MOST_ROWS // 2:
        notes.append(f"The charts show the {MOST_ROWS // 2} with the most streams; the tables have all.")
    return tuple(notes)
