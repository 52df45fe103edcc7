"""Distributions of TTFT and ITL: histograms, cumulative shares, and the tail."""

import numpy as np
import plotly.graph_objects as go

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.judge.measure.distribution import Distribution
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Chart, Panel, Table, figure_or_never, label, plot, scale

BUCKETS = 48
MOST_LINES = 6
_TITLES = {"ttft": "TTFT", "itl": "ITL"}
_LADDER = (0.01, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999, 1.0)
ENOUGH = 100  # first tokens, for a sentence on the slowest 1 %
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_NOTE = (
    "The lines count every stream that was begun: a line that ends below 100 % shows that the first or the next token "
    "of the other streams never came. An axis is logarithmic if the values spread over more than a decade."
)


def draw(run: Material) -> Panel:
    measurements = run.judgement.measurements
    seen = {name: samples for name in _TITLES if (samples := measurements.distribution(name)).n}
    charts: list[Chart] = []
    for name, samples in seen.items():
        charts += [_histogram(name, samples), _shares(run, name, samples)]
    return Panel(
        name="distributions",
        title="Distributions",
        lead=_lead(seen.get("ttft")),
        charts=tuple(charts),
        tables=(_ladder(seen), *(_buckets(name, samples) for name, samples in seen.items())) if seen else (),
        notes=(_NOTE,) if seen else (),
    )


def _lead(ttft: Distribution | None) -> str:
    if ttft is None:
        return "No stream had a first token, so there is nothing to show."
    if ttft.n < ENOUGH:
        most = figure(float(ttft.values[-1]), "ms")
        return f"{some(ttft.n, 'first token')}, the slowest after {most}: too few for a distribution."
    p50, p99 = (statistics.quantile(ttft.values, ttft.counts, q) or 0.0 for q in (0.5, 0.99))
    return (
        f"Half of the first tokens came within {figure(p50, 'ms')}; the slowest 1 % took {figure(p99, 'ms')} or more."
    )


def _is_log(samples: Distribution) -> bool:
    usual = statistics.quantile(samples.values, samples.counts, 0.01) or 0.0
    return float(samples.values[0]) > 0 and float(samples.values[-1]) > 10 * usual


def _edges(samples: Distribution) -> tuple[Floats, Integers]:
    """Bucket edges over all values, and the number of samples in each bucket."""
    low, high = float(samples.values[0]), float(samples.values[-1])
    if high <= low:
        edges = np.array([low - 0.5, low + 0.5])
    elif _is_log(samples):
        edges = np.geomspace(low, high, BUCKETS + 1)
    else:
        edges = np.linspace(low, high, BUCKETS + 1)
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)
    counts, _ = np.histogram(samples.values, edges, weights=samples.counts)
    return edges, counts.astype(np.int64)


def _histogram(name: str, samples: Distribution) -> Chart:
    edges, counts = _edges(samples)
    share = 100 * counts / max(1, counts.sum())
    texts = [
        f"{figure(low, 'ms')} to {figure(high, 'ms')}: {count:,}"
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    bars = go.Bar(
        x=_rounded((edges[:-1] + edges[1:]) / 2),
        width=_rounded(np.diff(edges)),
        y=_rounded(share),
        marker={"color": "var(--fill)"},
        text=texts,
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    marks = []
    for quantile, q, dash in (("p50", 0.5, "solid"), ("p95", 0.95, "dash"), ("p99", 0.99, "dot")):
        value = statistics.quantile(samples.values, samples.counts, q)
        marks.append(
            go.Scatter(
                x=[value, value],
                y=[0, float(share.max()) * 1.06],
                mode="lines",
                name=f"{quantile.upper()} {figure(value, 'ms')}",
                line={"color": f"var(--{quantile})", "width": 2, "dash": dash},
                hoverinfo="skip",
            )
        )
    return Chart(
        f"{_TITLES[name]}: how many {'gaps' if name == 'itl' else 'streams'} took how long?",
        plot(
            [bars, *marks],
            xaxis={"title": {"text": "ms"}, **_scale(samples)},
            yaxis={"title": {"text": "%"}, "rangemode": "tozero"},
            bargap=0,
        ),
    )


def _scale(samples: Distribution) -> dict[str, object]:
    low, high = float(samples.values[0]), float(samples.values[-1])
    return scale((low, high), 1) if _is_log(samples) else {"type": "linear"}


def _shares(run: Material, name: str, whole: Distribution) -> Chart:
    measurements = run.judgement.measurements
    networks = sorted(
        (part for part in run.judgement.parts if part.key == "network"), key=lambda part: -part.totals.streams
    )[:MOST_LINES]
    chosen: list[tuple[str, Where | None]] = [(part.value, Where(network=part.value)) for part in networks]
    traces = []
    for place, (network, where) in enumerate(chosen):
        values, counts = measurements.distribution(name, where).gated()
        x, y = _steps(values, counts)
        if len(x):  # extend the line to the edge, so that an end below 100 % is visible
            x, y = np.append(x, whole.values[-1]), np.append(y, y[-1])
        traces.append(
            go.Scatter(
                x=_rounded(x),
                y=_rounded(y),
                mode="lines",
                name=label(network, 20),
                line={"color": f"var(--line-{place + 1})", "width": 2, "dash": _DASHES[place]},
                hovertemplate=f"{label(network, 20)}: %{{y:.1f}} % within %{{x:,.4~g}} ms<extra></extra>",
            )
        )
    return Chart(
        f"{_TITLES[name]}: what share came within a time, on which network?",
        plot(
            traces,
            showlegend=True,
            xaxis={"title": {"text": "ms"}, **_scale(whole)},
            yaxis={"title": {"text": "%"}, "range": [0, 101]},
        ),
    )


def _steps(values: Floats, counts: Integers) -> tuple[Floats, Floats]:
    """At most about 250 points (value, % of samples at or below it), dense in the tail. +inf has no point."""
    total = counts.sum()
    finite = np.isfinite(values)
    values, share = values[finite], np.cumsum(counts)[finite] / max(1, total)
    if len(values) > 250:
        wanted = np.concatenate([np.linspace(0, 0.98, 180), 1 - np.geomspace(0.02, 1e-5, 70)])
        places = np.unique(np.append(np.searchsorted(share, wanted * share[-1]), len(values) - 1))
        values, share = values[places], share[places]
    return values, 100 * share


def _rounded(values: Floats) -> list[float]:
    """Rounded to five significant digits: more would not be visible, and digits are most of the page's size."""
    return [float(f"{value:.5g}") for value in values]


def _ladder(seen: dict[str, Distribution]) -> Table:
    columns = [""]
    for name, samples in seen.items():
        columns += [f">{_TITLES[name]}", *([">with failures"] if samples.failed else [])]
    rows: list[tuple[Cell, ...]] = []
    for q in _LADDER:
        row: list[Cell] = [f"P{100 * q:g}" if q < 1 else "slowest"]
        for samples in seen.values():
            row.append(figure(statistics.quantile(samples.values, samples.counts, q), "ms"))
            if samples.failed:
                row.append(figure_or_never(statistics.quantile(*samples.gated(), q), "ms"))
        rows.append(tuple(row))
    return Table("Percentiles of what was observed", tuple(columns), rows)


def _buckets(name: str, samples: Distribution) -> Table:
    edges, counts = _edges(samples)
    total = int(counts.sum())
    rows: list[tuple[Cell, ...]] = [
        (figure(float(low), "ms"), figure(float(high), "ms"), f"{count:,}", figure(count / total, "ratio"))
        for low, high, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
        if count
    ]
    return Table(f"The bars of {_TITLES[name]}", (">From", ">to", ">n", ">Share"), rows)
