"""The parts of a panel as plain values, and their formatting. The page's template turns them into HTML.

Untrusted text from a server or a config may be passed in as it is: the page's template escapes it and makes invisible
characters visible. Text inside a figure must go through `label`, since plotly.js interprets markup.
"""

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import plotly.graph_objects as go
from markupsafe import Markup

from streamgauge.harness.judge.figures import NONE, between_or, figure
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.wording import capitalised, shortened, visible


@dataclass(frozen=True)
class Mark:
    """A status as a word; the page adds its icon."""

    # met, missed, inconclusive, invalid, valid, degraded; of the gate: ok, regressed, improved; of doctor: pass, warn,
    # fail, unknown
    status: str


@dataclass(frozen=True)
class Link:
    """To another file beside the page."""

    text: str
    href: str  # relative


Cell = str | Mark | Link

TOO_FEW = "too few streams to tell"  # in place of an interval
_MANY_TICKS = 200  # a logarithmic axis up to so many times its smallest value has three ticks a decade


@dataclass(frozen=True)
class Table:
    caption: str
    columns: tuple[str, ...]  # a leading `>` marks a column of numbers: right-aligned
    rows: list[tuple[Cell, ...]]
    cards: bool = False  # show each row as a card on a phone: for rows with sentences

    sortable: bool = False  # its reader may sort it by a column, and search it


class Figure(NamedTuple):
    """What plotly.js draws. plotly's own class of this name would copy and validate each trace once more."""

    data: list[go.Scatter | go.Bar]
    layout: go.Layout


@dataclass(frozen=True)
class Chart:
    """A figure with its caption, which screen readers also use as its description.

    Colours are variables of the page's style sheet, as in `var(--p95)`, so that they follow light, dark and print.
    """

    caption: str
    figure: Figure
    height: int = 300  # CSS pixels
    wide: bool = False  # takes the full width, where otherwise two charts stand side by side


@dataclass(frozen=True)
class Fact:
    """A key number at the top of the page."""

    name: str
    value: str
    doubt: str = ""  # interval, count, …
    since: str = ""  # its change against a baseline
    rule: Mark | None = None  # the verdict of the rule about it
    limit: str = ""  # of that rule


class Answer(NamedTuple):
    """To a question that many readers have."""

    question: str
    sentence: str
    panel: str  # the anchor of the panel with the whole answer
    drawing: Markup | None = None  # on a narrow page only: on a wide one that panel is near


class Picture(NamedTuple):
    """A drawing that is there before any script has run."""

    caption: str
    drawing: Markup
    key: str | Markup = ""  # what the lines and colours are, below the caption
    of_all: bool = False  # stays about all streams, whichever its reader chooses


@dataclass(frozen=True)
class Panel:
    name: str  # its anchor on the page
    title: str
    lead: str  # the panel's message in one sentence
    facts: tuple[Fact, ...] = ()
    charts: tuple[Chart, ...] = ()
    answers: tuple[Answer, ...] = ()  # beside the facts; only in the first panel
    picture: Picture | None = None  # beside the facts; only in the first panel
    body: Markup | None = None  # HTML of the panel's own template, after the charts
    script: str | None = None  # the file that makes the body work
    tables: tuple[Table, ...] = ()  # folded if there are charts or a body
    notes: tuple[str, ...] = ()
    percentiles: Table | None = None  # shown before the charts; the reader may choose of which streams
    pointers: tuple[str, ...] = ()  # what to try next, in short; only in the first panel
    status: str | None = None  # the run's verdict; only in the first panel
    about: str = ""  # what was tested, when, and under which load; only in the first panel
    remarks: tuple[str, ...] = ()  # that change nothing, at the end; only in the first panel
    counted: str = ""  # how many streams there were, and how they ended; only in the first panel

    @property
    def has_content(self) -> bool:
        """Whether it has more than sentences."""
        return bool(self.charts or self.body or self.tables or self.percentiles or self.facts)


def plot(traces: list[go.Scatter | go.Bar], **layout: object) -> Figure:
    """A figure without a template: the page applies its own."""
    return Figure(traces, go.Layout(**layout))


def paired_bars(names: list[str], sides: dict[str, tuple[str, list[float | None]]]) -> Figure:
    """Horizontal bars in ms, one group per name, top down. `sides`: title → (colour, one value per name)."""
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
    return plot(
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
    return f"{capitalised(text)}."


def label(text: str, most: int = 24) -> str:
    """Text escaped for use in a figure: plotly.js shows it unchanged."""
    return html.escape(visible(shortened(text, most)), quote=False)


def figure_or_never(value: float | None, unit: str) -> str:
    """A formatted number; `never` for infinity, which stands for failed streams."""
    return "never" if value is not None and math.isinf(value) else figure(value, unit)


def interval_of(interval: Interval | None, unit: str) -> str:
    """`389–447`; a dash without an interval, or if neither of its ends is known."""
    if interval == (math.inf, math.inf):
        return "never"
    if interval is not None and (interval.low is None) != (interval.high is None):
        return TOO_FEW
    return between_or(NONE, interval, unit)


def scale(values: Iterable[float | None], spread: float) -> dict[str, object]:
    """An axis from zero, or a logarithmic one if the largest value is over `spread` times the smallest."""
    known = [value for value in values if value is not None and 0 < value < math.inf]
    if not known or max(known) <= spread * min(known):
        return {"type": "linear", "rangemode": "tozero"}
    return {"type": "log", **_log_ticks(min(known), max(known))}


def _log_ticks(low: float, high: float) -> dict[str, object]:
    """At 1, 2 and 5 times the powers of ten. plotly.js would write the twos and fives in small type, without zeros."""
    steps = (1, 2, 5) if high < _MANY_TICKS * low else (1,)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{step}e{power}") for power in powers for step in steps]
    return {"tickvals": ticks, "ticktext": [f"{tick:,g}" if tick < 1 else f"{tick:,.0f}" for tick in ticks]}


def clock(seconds: float) -> str:
    """`0:05`, `12:30`, `1:02:30` since the run began."""
    whole = round(seconds)
    hours = f"{whole // 3600}:{whole % 3600 // 60:02d}" if whole >= 3600 else f"{whole // 60}"
    return f"{hours}:{whole % 60:02d}"


def whole_steps(most: int) -> int:
    """The tick step of an axis of counts up to `most`: 1, 2 or 5 times a power of ten, for about five ticks."""
    size = int(10 ** max(0, len(str(most)) - 1))
    return next(step for step in (size // 5, size // 2, size, 2 * size) if step and most <= 6 * step)
