"""A run's report as one HTML file that opens without a network, for as long as there are browsers.

Script, style and figures are inside; a Content-Security-Policy forbids the page any request, and any script but its
own two. Every number is in a table too, so that it can be read without script, aloud, or on paper.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from streamgauge import __version__
from streamgauge.harness.judge.wording import visible
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Panel
from streamgauge.reports.panels import PANELS

_HERE = Path(__file__).parent
BUNDLE = _HERE / "plotly_bundle" / "plotly-basic.min.js"

# Inside a script element, `<` could end it; the two separators are no line ends in JSON, but were in JavaScript.
_INERT = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def render(material: Material) -> str:
    """The whole page of a run."""
    panels = [panel for draw in PANELS if (panel := draw(material)) is not None]
    run = material.judgement.run
    return assembled(panels, run.scenario, f"run {run.id}")


def assembled(panels: Sequence[Panel], subject: str, source: str) -> str:
    """A page of panels, the first at its head: what it is about, and what it was made from."""
    scripts = (
        [BUNDLE.read_text("utf-8"), (_HERE / "page.js").read_text("utf-8")]
        if any(panel.charts for panel in panels)
        else []
    )
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inert"] = _inert
    return environment.get_template("page.html.jinja").render(
        panels=panels,
        subject=subject,
        source=source,
        style=Markup((_HERE / "page.css").read_text("utf-8")),  # noqa: S704 - our own file
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own files
        hashes=[_hash(script) for script in scripts],
        version=__version__,
    )


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _inert(figure: go.Figure) -> Markup:
    return Markup(figure.to_json().translate(_INERT))  # noqa: S704 - nothing is left that could end its element


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
