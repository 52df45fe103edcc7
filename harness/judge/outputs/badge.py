"""A badge: an SVG of one line with the verdict, for a README or a dashboard. White on dark: legible on any page."""

from html import escape

from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.wording import shortened, visible

_MOST_CHARACTERS = 40  # of a scenario's name


def render(judgement: Judgement) -> str:
    return _badge(judgement.run.scenario, judgement.verdict, _ttft(judgement))


def gated(result: Gated) -> str:
    return _badge(result.judgement.run.scenario, result.status, _ttft(result.judgement))


def _ttft(judgement: Judgement) -> str:
    p95 = judgement.metrics["ttft"].gated.p95  # gated: failed streams are ∞, so that failing fast does not look good
    return "" if p95 is None else f" · p95 TTFT {figure(p95, 'ms')}"


def comparison(compared: Comparison) -> str:
    return _badge(f"against {compared.baseline}", compared.status)


def _badge(name: str, status: str, detail: str = "") -> str:
    """`textLength` fits each text into its half, whatever font the viewer has."""
    name = visible(shortened(name, _MOST_CHARACTERS))
    style = STYLES[status]
    verdict = f"{style.sign} {status}{detail}"
    left, right = (7 * len(text) + 12 for text in (name, verdict))
    name, verdict = escape(name), escape(verdict)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" aria-label="{name}: {verdict}">
  <title>{name}: {verdict}</title>
  <rect width="{left + right}" height="20" rx="3" fill="#444"/>
  <rect x="{left}" width="{right}" height="20" rx="3" fill="{style.badge}"/>
  <g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">
    <text x="6" y="14" textLength="{left - 12}" lengthAdjust="spacingAndGlyphs">{name}</text>
    <text x="{left + 6}" y="14" textLength="{right - 12}" lengthAdjust="spacingAndGlyphs">{verdict}</text>
  </g>
</svg>
"""
