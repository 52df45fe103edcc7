"""How often and how long a reader waits in mid-answer, by user class and network."""

import plotly.graph_objects as go

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.verdict.summary import Summary, summary
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Chart, Panel, Table, figure_or_never, interval_of, label, paired_bars, plot

MOST_ROWS = 12  # of a chart, for user classes and for networks; the table has all rows
_METRICS = ("stall_count", "stall_time", "longest_stall", "stall_ratio")


class _Row:
    """Waits in the streams of one part of the run."""

    def __init__(self, run: Material, name: str, where: Where | None, streams: int) -> None:
        counted = run.judgement.measurements.distribution("stall_count", where)
        self.name, self.streams = name, streams
        self.seen = {metric: summary(run.judgement.measurements.distribution(metric, where)) for metric in _METRICS}
        self.waited = int(counted.counts[counted.values > 0].sum())  # answers with a stall

    @property
    def n(self) -> int:
        return self.seen["stall_count"].n

    @property
    def share(self) -> float:
        return self.waited / self.n if self.n else 0.0


def draw(run: Material) -> Panel:
    parts = run.judgement.groups
    rows = [_Row(run, "all", None, run.judgement.totals.streams)]
    rows += [_Row(run, f"{part.key} {part.name}", part.where, part.totals.streams) for part in parts]
    rows = [row for row in rows if row.n]
    title = "Smoothness"
    if not rows:
        why = "No answer was streamed" if run.judgement.totals.sum("unstreamed") else "No stream had text"
        return Panel(name="smoothness", title=title, lead=f"{why}, so there were no waits.")
    shown = [rows[0]]
    for key in ("user", "network"):
        of_key = [row for row in rows[1:] if row.name.startswith(f"{key} ")]
        shown += sorted(of_key, key=lambda row: -row.streams)[:MOST_ROWS]
    return Panel(
        name="smoothness",
        title=title,
        lead=_lead(rows[0]),
        # Without any wait, the charts would be empty.
        charts=(_shares(shown), _lengths(shown)) if rows[0].waited else (),
        tables=(_table(rows),),
        notes=_notes(run, rows[0].seen["stall_time"]),
    )


def _lead(whole: _Row) -> str:
    if not whole.waited:
        return "No reader waited 250 ms or more in the middle of an answer."
    time = whole.seen["stall_time"].quantiles
    return (
        f"In {figure(whole.share, 'ratio')} of the answers the reader ran out of text and waited 250 ms or more; "
        f"the waits in an answer add up to {figure(time.p95, 'ms')} (P95) and {figure(time.p99, 'ms')} (P99)."
    )


def _shares(rows: list[_Row]) -> Chart:
    places = list(range(len(rows)))
    bars = go.Bar(
        orientation="h",
        x=[100 * row.share for row in rows],
        y=places,
        marker={"color": "var(--person)"},
        text=[figure(row.share, "ratio") for row in rows],
        textposition="auto",
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    axis = {"tickvals": places, "ticktext": [label(row.name, 32) for row in rows], "range": [len(rows) - 0.5, -0.5]}
    chart = plot(
        [bars],
        xaxis={"title": {"text": "%"}, "range": [0, max(1.0, *(105 * row.share for row in rows))]},
        yaxis={**axis, "showgrid": False, "zeroline": False},
        bargap=0.35,
    )
    return Chart(
        "Who has to wait in mid-answer? Answers with a wait of 250 ms or more", chart, height=90 + 46 * len(rows)
    )


def _lengths(rows: list[_Row]) -> Chart:
    sides = {
        "All waits in an answer": ("line-1", [row.seen["stall_time"].quantiles.p95 for row in rows]),
        "Its longest wait": ("line-2", [row.seen["longest_stall"].quantiles.p95 for row in rows]),
    }
    return Chart(
        "How long do readers wait? P95 of their waits",
        paired_bars([row.name for row in rows], sides),
        height=120 + 54 * len(rows),
    )


def _table(rows: list[_Row]) -> Table:
    failed = rows[0].seen["stall_time"].failed > 0
    columns = [
        "Streams of",
        ">Answers",
        ">With a wait",
        ">Share",
        ">95 % interval",
        ">Waits each, mean",
        ">Waited P50",
        ">P95",
        ">95 % interval of P95",
        ">P99",
        ">Longest wait, P95",
        ">Stall ratio, P95",
    ]
    if failed:
        columns += [">Failed", ">Waited P95 with failures"]
    return Table("Waits in the middle of an answer", tuple(columns), [_cells(row, failed) for row in rows])


def _cells(row: _Row, with_failures: bool) -> tuple[Cell, ...]:
    time = row.seen["stall_time"]
    cells: tuple[Cell, ...] = (
        row.name,
        f"{row.n:,}",
        f"{row.waited:,}",
        figure(row.share, "ratio"),
        interval_of(statistics.ratio_interval(row.waited, row.n), "ratio"),
        f"{row.seen['stall_count'].mean or 0:.2f}",
        figure(time.quantiles.p50, "ms"),
        figure(time.quantiles.p95, "ms"),
        interval_of(time.intervals.p95, "ms"),
        figure(time.quantiles.p99, "ms"),
        figure(row.seen["longest_stall"].quantiles.p95, "ms"),
        figure(row.seen["stall_ratio"].quantiles.p95, "ratio"),
    )
    return (*cells, f"{time.failed:,}", figure_or_never(time.gated.p95, "ms")) if with_failures else cells


def _notes(run: Material, time: Summary) -> tuple[str, ...]:
    speed = run.judgement.reader.characters_per_second
    notes = [
        f"The reader takes {speed:g} characters a second from what has arrived, after the emulated link, and begins "
        "with the first text. If all arrived text is read before the answer has ended, the reader waits; text that "
        "arrives early compensates for text that arrives late. The number of waits leaves out those under 250 ms; the "
        "time of all waits includes them. The stall ratio is waiting / (waiting + reading)."
    ]
    if time.failed:
        notes.append("With failures, as rules are judged: a failed answer counts as an endless wait.")
    return tuple(notes)
