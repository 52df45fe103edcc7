"""A badge: an SVG of one line with the verdict, for a README or a dashboard. White on dark: legible on any page."""

from html import escape

from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.outputs.terminal import SIGNS
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.wording import shortened, visible

_GREEN, _RED = "#1a7f37", "#b32430"
COLOURS = {
    "met": _GREEN, "missed": _RED, "inconclusive": "#8a5a00", "invalid": "#7a3ea8",
    "ok": _GREEN, "regressed": _RED, "improved": _GREEN,
}  # fmt: skip
_MOST = 40  # characters of a scenario's name


def render(judgement: Judgement) -> str:
    p95 = judgement.metrics["ttft"].gated["p95"]  # failed streams as ∞: or failing fast would look good here
    first = "" if p95 is None else f" · p95 TTFT {figure(p95, 'ms')}"
    name = visible(shortened(judgement.run.scenario, _MOST))
    return _drawn(name, f"{SIGNS[judgement.verdict]} {judgement.verdict}{first}", COLOURS[judgement.verdict])


def comparison(found: Comparison) -> str:
    name = visible(shortened(f"against {found.baseline}", _MOST))
    return _drawn(name, f"{SIGNS[found.status]} {found.status}", COLOURS[found.status])


def _drawn(name: str, told: str, colour: str) -> str:
    """Whatever the reader's font, `textLength` fits each text into its half."""
    left, right = (7 * len(text) + 12 for text in (name, told))
    name, told = escape(name), escape(told)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{name}: {told}">
  <title>{name}: {told}</title>
  <rect width="{left + right}" height="20" rx="3" fill="#444"/>
  <rect x="{left}" width="{right}" height="20" rx="3" fill="{colour}"/>
  <g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" lengthAdjust="spacingAndGlyphs">
    <text x="6" y="14" textLength="{left - 12}">{name}</text>
    <text x="{left + 6}" y="14" textLength="{right - 12}">{told}</text>
  </g>
</svg>
"""
