"""The panels of a report, in reading order. A new one is a file here and a line in PANELS.

None is drawn where a run holds nothing that it could tell of.
"""

from collections.abc import Callable

from reports.material import Material
from reports.panel import Panel
from reports.panels import (
    circumstances,
    client,
    distributions,
    latency,
    leaving,
    rates,
    server,
    sla,
    smoothness,
    timeline,
    verdict,
)

PANELS: tuple[Callable[[Material], Panel | None], ...] = (
    verdict.draw,
    sla.draw,
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
