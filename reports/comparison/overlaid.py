"""Both sides in one chart: the distributions of TTFT and ITL, their percentiles one by one, and each run."""

from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from streamgauge.harness.judge.compare.run_shapes import METRICS, Shape, pooled
from streamgauge.harness.judge.figures import change, figure
from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.reports.comparison.changes import Compared, Side
from streamgauge.reports.panel import Cell, Chart, Table, figure_or_never, label, plot, scale

TITLES = {"ttft": "TTFT", "itl": "ITL"}
_SHARES = np.concatenate([np.linspace(0.005, 0.98, 160), 1 - np.geomspace(0.019, 0.001, 30)])
_LADDER = (0.01, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999)
_FEWEST = 100  # samples of a side, for its percentiles one by one
_LINES = {"ttft": ("line-1", "solid"), "itl": ("line-2", "dash")}


def shares(compared: Compared) -> Iterator[Chart]:
    """What share came within a time, on both sides; with several runs before, between which lines all of them lie."""
    for metric, title in TITLES.items():
        traces = []
        seen = []
        for side, colour, dash in ((compared.before, "server", "dash"), (compared.after, "person", "solid")):
            shape = _pooled(side, metric)
            if not shape.n:
                continue
            if side is compared.before and len(side.shapes) > 1:
                traces.append(_between(side, [run.shapes[metric] for run in side.shapes]))
            x, y = _line(shape)
            seen += [*x]
            name = label(side.name, 20)
            traces.append(
                go.Scatter(
                    x=_rounded(x), y=_rounded(y), mode="lines", name=name,
                    line={"color": f"var(--{colour})", "width": 2, "dash": dash},
                    hovertemplate=f"{name}: %{{y:.1f}} % within %{{x:,.4~g}} ms<extra></extra>",
                )
            )  # fmt: skip
        if seen:
            yield Chart(
                f"{title}: what share came within a time, on both sides?",
                plot(traces, showlegend=True, xaxis={"title": {"text": "ms"}, **scale(seen, 10)},
                     yaxis={"title": {"text": "%"}, "range": [0, 101]}),
            )  # fmt: skip


def _pooled(side: Side, metric: str) -> Shape:
    return pooled(run.shapes[metric] for run in side.shapes)


def _line(shape: Shape) -> tuple[Floats, Floats]:
    """(ms, %): a line that ends below 100 % shows the failed streams."""
    at = shape.quantiles(_SHARES)
    finite = np.isfinite(at)
    return at[finite], 100 * _SHARES[finite]


def _between(side: Side, shapes: Sequence[Shape]) -> go.Scatter:
    """The area in which the lines of all runs of this side lie."""
    at = np.array([shape.quantiles(_SHARES) for shape in shapes if shape.n])
    low, high = at.min(axis=0), at.max(axis=0)
    finite = np.isfinite(high)
    x, y = np.concatenate([low[finite], high[finite][::-1]]), 100 * _SHARES[finite]
    return go.Scatter(
        x=_rounded(x), y=_rounded(np.concatenate([y, y[::-1]])), mode="lines", fill="toself", hoverinfo="skip",
        fillcolor="var(--users-fill)", line={"width": 0}, name=f"each run of {label(side.name, 20)}",
    )  # fmt: skip


def by_percentile(compared: Compared) -> Iterator[Chart]:
    """The change of each percentile: a line that rises to the right shows that only the slow streams became slower."""
    q = np.arange(1, 100) / 100
    traces = []
    for metric, (colour, dash) in _LINES.items():
        old, new = (_pooled(side, metric) for side in compared.sides)
        if min(old.n, new.n) < _FEWEST:
            continue
        was, now = old.quantiles(q), new.quantiles(q)
        known = np.isfinite(was) & np.isfinite(now)
        by = now[known] / was[known]
        texts = [
            f"P{100 * each:.0f} {figure(one, 'ms')} → {figure(two, 'ms')}: {change(ratio, 'ms')}"
            for each, one, two, ratio in zip(
                q[known], was[known].tolist(), now[known].tolist(), by.tolist(), strict=True
            )
        ]
        traces.append(
            go.Scatter(
                x=(100 * q[known]).round(1).tolist(), y=_rounded(100 * (by - 1)), mode="lines", name=TITLES[metric],
                line={"color": f"var(--{colour})", "width": 2, "dash": dash}, text=texts,
                hovertemplate=f"{TITLES[metric]} %{{text}}<extra></extra>",
            )
        )  # fmt: skip
    if traces:
        yield Chart(
            "Who is slower: every stream, or only the slow ones? The change of each percentile",
            plot(traces, showlegend=True, xaxis={"title": {"text": "percentile"}, "range": [0, 100]},
                 yaxis={"title": {"text": "change, %"}, "zeroline": True}),
            height=260,
            wide=True,
        )  # fmt: skip


def by_run(compared: Compared) -> Chart:
    """P95 TTFT of each run, in the order of their beginnings."""
    ordered = sorted([*compared.before.shapes, *compared.after.shapes], key=lambda shape: shape.run.started_at)
    number = {shape.run.id: place for place, shape in enumerate(ordered, 1)}
    traces = []
    for side, colour, symbol in ((compared.before, "server", "circle"), (compared.after, "person", "diamond")):
        known = [shape for shape in side.shapes if shape.p95 is not None and np.isfinite(shape.p95)]
        texts = [f"{label(shape.run.id, 40)}: {figure(shape.p95, 'ms')}" for shape in known]
        traces.append(
            go.Scatter(
                x=[number[shape.run.id] for shape in known], y=[shape.p95 for shape in known], mode="markers",
                name=label(side.name, 20), marker={"color": f"var(--{colour})", "symbol": symbol, "size": 10},
                text=texts, hovertemplate="%{text}<extra></extra>",
            )
        )  # fmt: skip
    values = [shape.p95 for shape in ordered]
    return Chart(
        "How far apart are equal runs? P95 TTFT of each run, oldest first",
        plot(traces, showlegend=True, xaxis={"title": {"text": "run"}, "dtick": max(1, len(ordered) // 10)},
             yaxis={"title": {"text": "ms"}, **scale(values, 50)}),
        height=260,
        wide=True,
    )  # fmt: skip


def ladder(compared: Compared) -> Table:
    before, after = compared.before.name, compared.after.name
    columns = ["", *(f">{title} {name}" for title in TITLES.values() for name in (before, after, "change"))]
    rows: list[tuple[Cell, ...]] = []
    every = [[_pooled(side, metric) for side in compared.sides] for metric in METRICS]
    for q in _LADDER:
        row: list[Cell] = [f"P{100 * q:g}"]
        for old, new in every:
            was, now = (_known(shape, q) for shape in (old, new))
            both = was is not None and now is not None and np.isfinite(was) and np.isfinite(now) and was > 0
            by = change(now / was, "ms") if both and was and now is not None else ""
            row += [figure_or_never(was, "ms"), figure_or_never(now, "ms"), by]
        rows.append(tuple(row))
    return Table("Percentiles of all streams of both sides, failed ones as infinitely late", tuple(columns), rows)


def _known(shape: Shape, q: float) -> float | None:
    return float(shape.quantiles(np.array([q]))[0]) if shape.n else None


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
