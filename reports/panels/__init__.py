"""The panels of a report, in reading order. A new one is a file here and a line in PANELS."""

from collections.abc import Callable

from reports.material import Material
from reports.panel import Panel
from reports.panels import (
    circumstances,
    client,
    distributions,
    latency,
    rates,
    server,
    sla,
    smoothness,
    timeline,
    verdict,
)

PANELS: tuple[Callable[[Material], Panel], ...] = (
    verdict.draw,
    sla.draw,
    latency.draw,
    smoothness.draw,
    server.draw,
    client.draw,
    rates.draw,
    timeline.draw,
    distributions.draw,
    circumstances.draw,
)
