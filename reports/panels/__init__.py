"""The panels of a report, in reading order. To add one, add a file here and an entry in PANELS.

A panel's `draw` returns None if the run has no data for it.

verdict         the header
rules           each rule with its value and reason
findings        what to try next
latency         TTFT and ITL by user class and network
streams         single streams, and their replay
smoothness      how often a reader waits
server          the server's part and the link's
client          the client library's part
rates           outcomes and failures
timeline        TTFT and ITL over time
load            latency by open streams, density, stalls of all, phases
distributions   histograms of TTFT and ITL
leaving         what was generated for nobody
circumstances   how the run was made
"""

from collections.abc import Callable

from streamgauge.reports.material import Material
from streamgauge.reports.panel import Panel
from streamgauge.reports.panels import (
    circumstances,
    client,
    distributions,
    findings,
    latency,
    leaving,
    load,
    rates,
    rules,
    server,
    smoothness,
    streams,
    timeline,
    verdict,
)

PANELS: tuple[Callable[[Material], Panel | None], ...] = (
    verdict.draw,
    rules.draw,
    findings.draw,
    latency.draw,
    streams.draw,
    smoothness.draw,
    server.draw,
    leaving.draw,
    client.draw,
    rates.draw,
    timeline.draw,
    load.draw,
    distributions.draw,
    circumstances.draw,
)
