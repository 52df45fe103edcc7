"""A run's report as one HTML file that opens without a network.

Scripts, styles and figures are inline; a Content-Security-Policy forbids all requests, and all scripts but the page's
own. Every number is also in a table, so that it can be read without script, by a screen reader, or on paper.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from streamgauge import __version__
from streamgauge.reports import facts, html
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Panel
from streamgauge.reports.panels import PANELS
from streamgauge.reports.terms import terms

_HERE = Path(__file__).parent
BUNDLE = _HERE / "plotly_bundle" / "plotly-basic.min.js"


def render(material: Material) -> str:
    """The HTML page of a run."""
    run = material.judgement.run
    return assemble(panels(material), run.scenario, f"run {run.id}", list(facts.parts(material)), run.id)


def panels(material: Material) -> list[Panel]:
    """The panels of a run's page, in reading order; the first one is the header."""
    return [panel for draw in PANELS if (panel := draw(material)) is not None]


def assemble(
    shown: Sequence[Panel], subject: str, source: str, parts: Sequence[facts.Shown] = (), run: str | None = None
) -> str:
    """A page of panels; the first one is the header. `subject` goes into the title, `source` into the footer.

    The reader may choose one of the `parts` in place of all streams. `run`: the id of the one run that the page
    reports, by which `run_pages` finds it.
    """
    bundle = BUNDLE.read_text("utf-8") if any(panel.charts for panel in shown) else ""
    has_streams = any(panel.body for panel in shown)
    own = ["page.js", *(["streams.js"] if has_streams else []), *(["facets.js"] if parts else [])]
    scripts = [(_HERE / name).read_text("utf-8") for name in own]
    return html.template("page.html.jinja").render(
        panels=shown,
        parts=parts,
        subject=subject,
        source=source,
        run=run,
        style=Markup((_HERE / "page.css").read_text("utf-8")),  # noqa: S704 - our own file
        bundle=Markup(bundle),  # noqa: S704 - our own file
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own files
        hashes=[_hash(text) for text in (bundle, *scripts) if text],
        terms=list(terms()),
        version=__version__,
    )


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
