"""What a panel is made of: plain values, and the words for them. Nothing here knows HTML.

Text from a server or a config may go in as it came: `visible` makes its invisible characters harmless, the page's
template escapes the rest, and `label` does both for text inside a figure, which plotly.js would read as markup.
"""

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass

import plotly.graph_objects as go

from streamgauge.harness.judge.figures import NONE, between, figure
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.wording import shortened, visible


@dataclass(frozen=True)
class Mark:
    """A status as a word; the page sets its icon beside it."""

    status: str  # met, missed, inconclusive, invalid, valid, degraded


Cell = str | Mark


@dataclass(frozen=True)
class Table:
    caption: str
    columns: tuple[str, ...]  # one that begins with `>` holds numbers: aligned right
    rows: list[tuple[Cell, ...]]
    cards: bool = False  # on a phone each row becomes a card: for rows that hold sentences

    @property
    def long(self) -> bool:
        """Folded until it is asked for."""
        return len(self.rows) > 24 and not self.cards


@dataclass(frozen=True)
class Chart:
    """A figure and what it shows, in words: its caption, and what a screen reader says of it.

    Colours are names from the page's style sheet, as in `var(--p95)`, so that light, dark and print each have theirs.
    """

    says: str
    figure: go.Figure
    height: int = 300  # CSS pixels
    wide: bool = False  # takes the whole line where two charts would fit


@dataclass(frozen=True)
class Fact:
    """One number to see first."""

    name: str
    value: str
    doubt: str = ""  # interval, count, …


@dataclass(frozen=True)
class Panel:
    name: str  # its anchor on the page
    title: str
    lead: str  # what it says, in a sentence
    facts: tuple[Fact, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    status: str | None = None  # of the run: only the first panel has it


def drawn(traces: list[go.Scatter | go.Bar], **layout: object) -> go.Figure:
    """A figure without plotly's own template: the page has its own."""
    return go.Figure(traces, {"template": {}, **layout})


def paired(names: list[str], sides: dict[str, tuple[str, list[float | None]]]) -> go.Figure:
    """Bars of ms, a group for each name; `sides` are title → colour and values. From the top down."""
    places = list(range(len(names)))
    traces = [
        go.Bar(
            orientation="h",
            x=values,
            y=places,
            name=title,
            marker={"color": f"var(--{colour})"},
            text=[figure(value, "ms") for value in values],
            textposition="auto",
            hovertemplate=f"{title}: %{{text}}<extra></extra>",
        )
        for title, (colour, values) in sides.items()
    ]
    return drawn(
        traces,
        xaxis={"title": {"text": "ms"}, **scale((value for _, values in sides.values() for value in values), 50)},
        yaxis={
            "tickvals": places,
            "ticktext": [label(name, 20) for name in names],
            "range": [len(names) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
        },
        bargap=0.3,
    )


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def label(text: str, most: int = 24) -> str:
    """Text that plotly.js will show as it is."""
    return html.escape(visible(shortened(text, most)), quote=False)


def told(value: float | None, unit: str) -> str:
    """A figure in which infinity is a word: what never came."""
    return "never" if value is not None and math.isinf(value) else figure(value, unit)


def interval_of(interval: Interval | None, unit: str) -> str:
    return NONE if interval is None or interval == (None, None) else between(interval, unit)


def scale(values: Iterable[float | None], spread: float) -> dict[str, object]:
    """An axis from zero, or a logarithmic one where the largest value is over `spread` times the smallest."""
    there = [value for value in values if value is not None and 0 < value < math.inf]
    if not there or max(there) <= spread * min(there):
        return {"type": "linear", "rangemode": "tozero"}
    return {"type": "log", "dtick": "D2" if max(there) < 1000 * min(there) else 1}


def whole_steps(most: int) -> int:
    """The distance of ticks on an axis that counts up to `most`: 1, 2 or 5 times a power of ten, some five of them."""
    size = int(10 ** max(0, len(str(most)) - 1))
    return next(step for step in (size // 5, size // 2, size, 2 * size) if step and most <= 6 * step)


def span(seconds: float) -> str:
    """`42 s`, `2 min 5 s`, `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
