"""As many processes as this machine has cores for them, against one process on one core; plain HTTP and TLS.

Sized to the machine: half of the cores serve, each with a reference server of its own, and the processes of the load
generator have the other half. With fewer than four cores there is nothing to divide, and it is skipped.
"""

from typing import Any

import msgspec

from streamgauge.harness import cores
from streamgauge.harness.calibration.measurement import Layout, calibrate, layouts
from streamgauge.harness.record.certificate import Point, processes

FEWEST = 4
STREAMS = (500, 1000)  # for each server
SECONDS = 10


def run(count: int | None = None) -> dict[str, Any]:
    """The points of each layout; for each, `events_per_cpu_second` and the errors. `count`: the cores to use."""
    count = cores.usable() if count is None else count
    if count < FEWEST:
        print(f"cores: skipped: this machine has {count:,}, and it takes {FEWEST} to give servers cores of their own")
        return {"skipped": f"{count} of at least {FEWEST} cores"}
    found: dict[str, Any] = {"cores": count}
    for layout in layouts(cores.places(), count):
        made = calibrate(STREAMS, SECONDS, [False, True], _tell, among=[layout])
        found[_called(layout)] = msgspec.to_builtins(made.points)
    return found


def _called(layout: Layout) -> str:
    return processes(layout.processes)


def _tell(point: Point) -> None:
    print(
        f"cores: {processes(point.processes)}{' over TLS' if point.tls else ''}  {point.streams:,} streams  "
        f"{point.events_per_second:,.0f} events/s, {point.events_per_cpu_second:,.0f} per CPU-second  "
        f"TTFT error p99 {point.ttft_error_p99:.3f} ms  ITL error p99 {point.itl_error_p99:.3f} ms  "
        f"(server late p99 {point.server_late_p99} ms)",
        flush=True,
    )
