"""`streamgauge calibrate`: how exact this machine's times are."""

import click

from streamgauge.harness.calibration import measurement, resolution
from streamgauge.harness.calibration.resolution import Point
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.judge.outputs import lines


@click.command(name="calibrate")
@click.option(
    "--streams",
    metavar="N,N,…",
    default=",".join(map(str, measurement.STREAMS)),
    show_default=True,
    help="Measure with this many streams at once, a run for each number.",
)
@click.option("--seconds", type=click.IntRange(5), default=8, show_default=True, help="How long each run measures.")
@click.option("--plain-only", is_flag=True, help="Measure only plain HTTP, no TLS.")
def command(streams: str, seconds: int, plain_only: bool) -> None:
    """Measure how exact the recorded times are on this machine.

    Runs load against the reference server and compares what was recorded with the server's own log. The result is
    kept for this machine, and every later run and report states it.
    """
    try:
        numbers = [int(number) for number in streams.split(",")]
    except ValueError:
        raise ScenarioError(f"--streams {streams!r}: write numbers with commas in between, as in 50,200") from None
    calibration = measurement.calibrate(numbers, seconds, [False] if plain_only else [False, True], _print)
    resolution.keep(calibration)
    lines.show(f"this machine: {calibration.sentence()}; kept in {resolution.path()}")


def _print(point: Point) -> None:
    lines.show(
        f"{point.streams:6,} streams{', TLS' if point.tls else '':5}  TTFT off by {point.ttft_error_p99:.3f} ms, "
        f"ITL by {point.itl_error_p99:.3f} ms (P99)  {point.events_per_second:,.0f} events/s, "
        f"{point.events_per_cpu_second:,.0f} per CPU-second  (server behind its schedule by "
        f"{point.server_late_p99:.1f} ms, P99)"
    )
