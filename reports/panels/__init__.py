"""The panels of a report, in reading order. To add one, add a file here and an entry in PANELS.

A panel's `draw` returns None if the run has no data for it.
"""

from collections.abc import Callable

from streamgauge.reports.material import Material
from streamgauge.reports.panel import Panel
from streamgauge.reports.panels import (
    circumstances,
    client,
    distributions,
    latency,
    leaving,
    rates,
    rules,
    server,
    smoothness,
    timeline,
    verdict,
)

PANELS: tuple[Callable[[Material], Panel | None], ...] = (
    verdict.draw,
    rules.draw,
    latency.draw,
    smoothness.draw,
    server.draw,
    leaving.draw,
    client.draw,
    rates.draw,
    timeline.draw,
    distributions.draw,
    circumstances.draw,
)
