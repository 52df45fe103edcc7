"""A run's report as one HTML file that opens without a network.

Scripts, styles and figures are inline; a Content-Security-Policy forbids all requests, and all scripts but the page's
own. Every number is also in a table, so that it can be read without script, by a screen reader, or on paper.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html import unescape
from pathlib import Path

from markupsafe import Markup

from streamgauge import __version__
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store import Aliases
from streamgauge.reports import facts, html
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Panel
from streamgauge.reports.panels import PANELS
from streamgauge.reports.terms import terms

_HERE = Path(__file__).parent
# Scripts and styles, which are our own files; data for the scripts has the type application/json.
_OUR_OWN = re.compile(
    r"<(style|script)>" + html.up_to_end(r"\1") + r"|<script type=\"text/plain\"" + html.up_to_end("script")
)
_ALWAYS = {"verdict", "sla", "findings", "outcomes", "circumstances"}  # what they say without data matters, too
_STYLES = ("design.css", "page.css")
BUNDLE = _HERE / "plotly_bundle" / "plotly-basic.min.js"


def render(material: Material) -> str:
    """The HTML page of a run."""
    return _render(material, "report")


def render_redacted(material: Material, aliases: Aliases) -> str:
    """The page of a run that was read from a redacted store. StoreError if it names a host all the same."""
    page = _render(material, "report, redacted: without hosts, labels, error texts, ids and machines")
    told = unescape(_OUR_OWN.sub("", page))
    for secret in aliases.secrets:
        if "." in secret and re.search(rf"(?<![\w.-]){re.escape(secret)}(?![\w-])", told, re.IGNORECASE):
            raise StoreError(f"the redacted page would still name {secret}, so it is not written; please report this")
    return page


def _render(material: Material, kind: str) -> str:
    run = material.judgement.run
    return assemble(panels(material), run.scenario, f"run {run.id}", list(facts.parts(material)), run.id, kind)


def panels(material: Material) -> list[Panel]:
    """The panels of a run's page, in reading order; the first one is the header.

    Those that have nothing to show become one sentence at the end.
    """
    drawn = [panel for draw in PANELS if (panel := draw(material)) is not None]
    shown = [panel for panel in drawn if panel.name in _ALWAYS or panel.has_content]
    left_out = ", ".join(panel.title for panel in drawn if panel not in shown)
    if left_out:
        note = f"This run has nothing to show for: {left_out}."
        shown[-1] = replace(shown[-1], notes=(*shown[-1].notes, note))
    return shown


def assemble(
    shown: Sequence[Panel],
    subject: str,
    source: str,
    parts: Sequence[facts.Shown] = (),
    run: str | None = None,
    kind: str = "report",
) -> str:
    """A page of panels; the first one is the header. `subject` goes into the title, `source` into the footer.

    The reader may choose one of the `parts` in place of all streams. `run`: the id of the one run that the page
    reports, by which `run_pages` finds it. `kind` says at the top what sort of page it is.
    """
    bundle = _bundle() if any(panel.charts for panel in shown) else ""
    of_panels = [panel.script for panel in shown if panel.script]
    own = ["page.js", *of_panels, *(["facets.js"] if parts else [])]
    scripts = [html.ascii_script((_HERE / name).read_text("utf-8")) for name in own]
    return html.template("page.html.jinja").render(
        panels=shown,
        parts=parts,
        subject=subject,
        source=source,
        run=run,
        kind=kind,
        style=Markup("".join((_HERE / name).read_text("utf-8") for name in _STYLES)),  # noqa: S704 - our own files
        design=design(),
        bundle=Markup(bundle),  # noqa: S704 - our own file
        scripts=[Markup(script) for script in scripts],  # noqa: S704 - our own files
        hashes=[_hash(text) for text in (bundle, *scripts) if text],
        terms=list(terms()),
        explained_terms=set(),  # the template fills it
        version=__version__,
    )


@cache
def _bundle() -> str:
    """plotly.js as a page has it."""
    return html.ascii_script(BUNDLE.read_text("utf-8"))


def design() -> str:
    """A fingerprint of all that makes a page look and behave as it does, but for the panels' own content."""
    files = sorted(path for kind in ("*.css", "*.js", "*.jinja") for path in _HERE.glob(kind))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
