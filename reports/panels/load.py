"""What the load did: TTFT and ITL by open streams, when streams stood still together, and where the time went."""

from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from streamgauge.harness.judge.figures import NONE, figure, some
from streamgauge.harness.judge.measure.arrays import Floats, Mask
from streamgauge.harness.judge.verdict.findings.evidence import Course, Sample
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.reports import course_svg
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Chart, Panel, Table, clock, label, plot, scale

_GROUPS = 8  # of streams by what they are ordered by; each holds as many streams as the others
_FEWEST = 20  # streams of a group: with fewer its P95 is its slowest stream
_COLUMNS, _ROWS = 60, 30  # of the density
_FEWEST_RECEIVING = 5  # open answers: of fewer, a share says nothing
_MOST_BARS = 240
_TOGETHER = 0.5  # of the open answers without a chunk: the server paused, and not one link


def draw(run: Material) -> Panel | None:
    sample, course = run.judgement.evidence.sample, run.judgement.evidence.course
    known = ~np.isnan(sample.ttft)
    if not known.any():
        return None
    by_load = _grouped(sample, course.open_at(sample.due), known)
    with_input = known & ~np.isnan(sample.input_tokens)
    by_input = _grouped(sample, sample.input_tokens, with_input)
    charts = [*_by_load(run, by_load), *_density(run, sample, known), *_silence(course), _phases(sample, known)]
    if len(by_input) > 1:
        charts.append(_lines("Is a longer question slower? TTFT by input tokens", "input tokens", by_input, "ms"))
    return Panel(
        name="load",
        title="Load and latency",
        lead=_lead(by_load, course),
        charts=tuple(charts),
        tables=tuple(_tables(sample, known, by_load, by_input)),
        notes=_notes(run, sample),
    )


class _Group:
    """Streams that lie beside each other in some order."""

    def __init__(self, sample: Sample, by: Floats, mine: Mask) -> None:
        self.low, self.middle, self.high = (float(value) for value in np.quantile(by[mine], [0, 0.5, 1]))
        self.n = int(mine.sum())
        self.ttft = _two(sample.ttft[mine])
        self.pace = _two(sample.pace[mine])

    @property
    def name(self) -> str:
        return f"{self.low:,.0f}" if self.low == self.high else f"{self.low:,.0f}–{self.high:,.0f}"


def _two(values: Floats) -> tuple[float | None, float | None]:
    """P50 and P95; None without a value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    p50, p95 = np.quantile(known, [0.5, 0.95], method="inverted_cdf")
    return float(p50), float(p95)


def _grouped(sample: Sample, by: Floats, known: Mask) -> list[_Group]:
    """The streams in at most _GROUPS groups of about equal size; equal values are in one group."""
    n = int(known.sum())
    groups = min(_GROUPS, n // _FEWEST)
    if groups < 1:
        return []
    edges = np.unique(np.quantile(by[known], np.linspace(0, 1, groups + 1)[1:-1], method="inverted_cdf"))
    place = np.searchsorted(edges, by, side="left")
    return [_Group(sample, by, mine) for at in range(len(edges) + 1) if (mine := known & (place == at)).any()]


def _lead(groups: Sequence[_Group], course: Course) -> str:
    together = _together(course)
    stood = f" For {figure(together, 's')}, more than half of the answers under way got nothing." if together else ""
    if len(groups) < 2:
        return f"The number of open streams hardly varied, so this run cannot show how latency grows with load.{stood}"
    first, last = groups[0], groups[-1]
    return (
        f"With {first.name} open streams P95 TTFT was {figure(first.ttft[1], 'ms')}, "
        f"with {last.name} it was {figure(last.ttft[1], 'ms')}.{stood}"
    )


def _by_load(run: Material, groups: Sequence[_Group]) -> Iterator[Chart]:
    if len(groups) < 2:
        return
    limits = course_svg.limits_of(run.judgement.verdicts, "ttft")
    yield _lines("How does TTFT grow with load?", "open streams", groups, "ms", limits)
    if any(group.pace[0] is not None for group in groups):
        yield _lines("How does the pace of an answer change with load? Its mean gap", "open streams", groups, "pace")


def _lines(title: str, axis: str, groups: Sequence[_Group], of: str, limits: Sequence[tuple[str, float]] = ()) -> Chart:
    at = [group.middle for group in groups]
    traces = []
    for place, name, dash, symbol in ((1, "p95", "solid", "diamond"), (0, "p50", "dash", "circle")):
        values = [(group.pace if of == "pace" else group.ttft)[place] for group in groups]
        texts = [
            f"{figure(value, 'ms')}, {some(group.n, 'stream')}" for value, group in zip(values, groups, strict=True)
        ]
        traces.append(
            go.Scatter(
                x=at, y=values, name=name.upper(), mode="lines+markers", connectgaps=True,
                line={"color": f"var(--{name})", "width": 2, "dash": dash}, marker={"size": 8, "symbol": symbol},
                text=texts, hovertemplate=f"{name.upper()} %{{text}}<extra></extra>",
            )
        )  # fmt: skip
    for name, limit in limits:
        traces.append(
            go.Scatter(
                x=[at[0], at[-1]], y=[limit, limit], name=f"limit of {name}", mode="lines", hoverinfo="skip",
                line={"color": "var(--bad)", "width": 1.5, "dash": "dot"},
            )
        )  # fmt: skip
    return Chart(
        title,
        plot(traces, xaxis={"title": {"text": axis}, "rangemode": "tozero"},
             yaxis={"title": {"text": "ms"}, "rangemode": "tozero"}, hovermode="x unified"),
    )  # fmt: skip


def _density(run: Material, sample: Sample, known: Mask) -> Iterator[Chart]:
    """Squares of TTFT by time: two populations show as two bands, which no line of a percentile can."""
    ttft = np.maximum(sample.ttft[known], 0.1)
    if known.sum() < _FEWEST or ttft.min() == ttft.max():
        return
    seconds = max(run.judgement.took, 1.0)
    counts, x, y = np.histogram2d(
        sample.due[known], np.log10(ttft), bins=(_COLUMNS, _ROWS),
        range=((0, seconds), (float(np.log10(ttft.min())) - 0.01, float(np.log10(ttft.max())) + 0.01)),
    )  # fmt: skip
    columns, rows = np.nonzero(counts)
    middle_x, middle_y = (x[:-1] + x[1:]) / 2, 10 ** ((y[:-1] + y[1:]) / 2)
    seen = counts[columns, rows]
    texts = [
        f"{clock(float(middle_x[at]))}, about {figure(float(middle_y[to]), 'ms')}: {some(int(n), 'stream')}"
        for at, to, n in zip(columns, rows, seen, strict=True)
    ]
    squares = go.Scatter(
        x=np.round(middle_x[columns], 3).tolist(),
        y=[float(f"{value:.4g}") for value in middle_y[rows]],
        mode="markers",
        marker={
            "symbol": "square", "size": 9, "color": np.round(np.log1p(seen), 3).tolist(),
            "colorscale": [[0, "var(--fill)"], [0.5, "var(--p50)"], [1, "var(--p99)"]], "line": {"width": 0},
        },
        text=texts,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )  # fmt: skip
    yield Chart(
        "Are there two kinds of streams? TTFT over time, darker where there are more",
        plot([squares], xaxis={"title": {"text": "seconds"}, "range": [0, seconds], "showgrid": False},
             yaxis={"title": {"text": "ms"}, **scale(ttft.tolist(), 5)}),
        wide=True,
    )  # fmt: skip


def _silence(course: Course) -> Iterator[Chart]:
    step, receiving, silent = _by_bar(course)
    if not (receiving >= _FEWEST_RECEIVING).any():
        return
    at = (np.arange(len(receiving)) + 0.5) * step
    share = np.where(receiving >= _FEWEST_RECEIVING, 100 * silent / np.maximum(receiving, 1), np.nan)
    texts = [
        f"{clock(float(when))}: {value:.0f} % of {n:.0f}" for when, value, n in zip(at, share, receiving, strict=True)
    ]
    bars = go.Bar(
        x=np.round(at, 3).tolist(),
        y=[None if np.isnan(value) else round(float(value), 1) for value in share],
        width=step,
        marker={"color": ["var(--bad)" if value > 100 * _TOGETHER else "var(--p50)" for value in share]},
        text=texts,
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )  # fmt: skip
    yield Chart(
        "Do answers stand still together? Share of open answers without a chunk for 250 ms",
        plot([bars], xaxis={"title": {"text": "seconds"}, "range": [0, float(at[-1] + step / 2)], "showgrid": False},
             yaxis={"title": {"text": "%"}, "range": [0, 100]}, bargap=0),
        height=220,
        wide=True,
    )  # fmt: skip


def _by_bar(course: Course) -> tuple[float, Floats, Floats]:
    """The course in at most _MOST_BARS bars: seconds of a bar, and the means of receiving and silent."""
    slices = max(1, round(max(1.0, len(course.open) * course.width / _MOST_BARS) / course.width))
    starts = np.arange(0, len(course.open), slices)
    if not len(starts):
        return 1.0, np.zeros(0), np.zeros(0)
    n = np.diff([*starts, len(course.open)])
    receiving, silent = (np.add.reduceat(each, starts) / n for each in (course.receiving, course.silent))
    return slices * course.width, receiving, silent


def _together(course: Course) -> float:
    """For how many seconds more than half of the open answers had no chunk for 250 ms."""
    enough = course.receiving >= _FEWEST_RECEIVING
    return float((enough & (course.silent > _TOGETHER * course.receiving)).sum() * course.width)


def _phases(sample: Sample, known: Mask) -> Chart:
    networks = sample.text["network"]
    names = [name for name in networks.values if (known & networks.are(name)).any()]
    parts: dict[str, tuple[str, list[float]]] = {
        "connecting": ("server", []), "the server": ("p50", []), "the link and the rest": ("users", []),
    }  # fmt: skip
    for name in names:
        for key, value in zip(parts, _mean_phases(sample, known & networks.are(name)), strict=True):
            parts[key][1].append(value)
    places = list(range(len(names)))
    traces = [
        go.Bar(
            orientation="h", x=values, y=places, name=key, marker={"color": f"var(--{colour})"},
            text=[figure(value, "ms") for value in values], textposition="auto",
            hovertemplate=f"{key}: %{{text}}<extra></extra>",
        )
        for key, (colour, values) in parts.items()
    ]  # fmt: skip
    return Chart(
        "Where does the time to the first token go? Its mean, by network",
        plot(traces, barmode="stack", bargap=0.35, xaxis={"title": {"text": "ms"}},
             yaxis={"tickvals": places, "ticktext": [label(name, 20) for name in names],
                    "range": [len(names) - 0.5, -0.5], "showgrid": False, "zeroline": False}),
        height=130 + 40 * len(names),
    )  # fmt: skip


def _mean_phases(sample: Sample, mine: Mask) -> tuple[float, float, float]:
    """Connecting, the server's part, and the rest of the mean TTFT of these streams, ms."""
    connect = float(np.nan_to_num(sample.connect[mine]).mean())
    wait, ttft = (float(np.nanmean(column[mine])) for column in (sample.wait, sample.ttft))
    return connect, wait, max(0.0, ttft - connect - wait)


def _tables(sample: Sample, known: Mask, by_load: Sequence[_Group], by_input: Sequence[_Group]) -> Iterator[Table]:
    for title, head, groups in (
        ("By open streams", ">Open streams", by_load),
        ("By input tokens", ">Input tokens", by_input),
    ):
        rows: list[tuple[Cell, ...]] = [
            (group.name, f"{group.n:,}", *(figure(value, "ms") for value in (*group.ttft, *group.pace)))
            for group in groups
        ]
        heads = (head, ">Streams", ">TTFT P50", ">P95", ">Mean gap P50", ">P95")
        if len(groups) > 1:
            yield Table(f"{title}, when the stream was due", heads, rows)
    networks = sample.text["network"]
    parts: list[tuple[Cell, ...]] = [
        (name, f"{int(mine.sum()):,}", *(figure(value, "ms") for value in _mean_phases(sample, mine)))
        for name in networks.values
        if (mine := known & networks.are(name)).any()
    ]
    columns = ("Network", ">Streams", ">Connecting", ">The server", ">The link and the rest")
    yield Table("Parts of the mean TTFT by network", columns, parts)
    yield Table("How complete answers ended", ("Stop reason", ">Answers", ">Share"), _stop_reasons(sample))
    yield Table("The shape of complete answers", ("", ">P50", ">P95"), _shapes(sample))


def _stop_reasons(sample: Sample) -> list[tuple[Cell, ...]]:
    """Of complete answers, as the finding on max_tokens counts them."""
    reasons, whole = sample.text["stop_reason"], sample.text["outcome"].are(Outcome.COMPLETED)
    counts = np.bincount(reasons.codes[whole], minlength=len(reasons.values))
    order = np.argsort(-counts, kind="stable")[:_GROUPS]
    return [
        (reasons.values[at] or "not told", f"{counts[at]:,}", figure(counts[at] / counts.sum(), "ratio"))
        for at in order.tolist()
        if counts[at]
    ]


def _shapes(sample: Sample) -> list[tuple[Cell, ...]]:
    """Of complete answers: of the others, a server had reported hardly any of their tokens."""
    whole = sample.text["outcome"].are(Outcome.COMPLETED)
    chunks, tokens = sample.chunks[whole], sample.output_tokens[whole]
    with np.errstate(divide="ignore", invalid="ignore"):
        per_chunk = np.where(chunks > 0, tokens / chunks, np.nan)
    shapes = {"Chunks of content": chunks, "Output tokens": tokens, "Tokens in a chunk": per_chunk}
    return [
        (name, *(NONE if value is None else f"{value:,.1f}".removesuffix(".0") for value in _two(values)))
        for name, values in shapes.items()
    ]


def _notes(run: Material, sample: Sample) -> tuple[str, ...]:
    everything = run.judgement.totals.streams
    of = f"From {len(sample):,} of {some(everything, 'stream')}, evenly chosen. " if len(sample) < everything else ""
    failed = run.judgement.totals.count(*FAILURES)
    without = " Failed streams have no TTFT, so they are in no line here." if failed else ""
    return (
        f"{of}A group holds the streams that were due while about as many others were open. If all open answers stand "
        "still at once, the server or a proxy paused; if some do, their links did, or the server set them aside."
        f"{without}",
    )
