"""A run's report as one HTML file that opens without a network.

Scripts, styles and figures are inline; a Content-Security-Policy forbids all requests, and all scripts but the page's
own two. Every number is also in a table, so that it can be read without script, by a screen reader, or on paper.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from streamgauge import __version__
from streamgauge.harness.judge.wording import visible
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Panel
from streamgauge.reports.panels import PANELS
from streamgauge.reports.terms import explained, terms

_HERE = Path(__file__).parent
BUNDLE = _HERE / "plotly_bundle" / "plotly-basic.min.js"

# `<` could end a script element; U+2028 and U+2029 are valid in JSON strings, but ended lines in older JavaScript.
_INERT = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def render(material: Material) -> str:
    """The HTML page of a run."""
    panels = [panel for draw in PANELS if (panel := draw(material)) is not None]
    run = material.judgement.run
    return assemble(panels, run.scenario, f"run {run.id}")


def assemble(panels: Sequence[Panel], subject: str, source: str) -> str:
    """A page of panels; the first one is the header. `subject` goes into the title, `source` into the footer."""
    bundle = BUNDLE.read_text("utf-8") if any(panel.charts for panel in panels) else ""
    script = (_HERE / "page.js").read_text("utf-8")
    return _template().render(
        panels=panels,
        subject=subject,
        source=source,
        style=Markup((_HERE / "page.css").read_text("utf-8")),  # noqa: S704 - our own file
        bundle=Markup(bundle),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        hashes=[_hash(text) for text in (bundle, script) if text],
        terms=list(terms()),
        version=__version__,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inert"] = _inert
    environment.filters["explained"] = lambda text: explained(visible(text))
    return environment.get_template("page.html.jinja")


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _inert(figure: go.Figure) -> Markup:
    return Markup(figure.to_json().translate(_INERT))  # noqa: S704 - _INERT escapes what could end the element


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
