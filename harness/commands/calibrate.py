"""`streamgauge calibrate`: how exact this machine's times are."""

import click

from streamgauge.harness import cores
from streamgauge.harness.calibration import kept, measurement
from streamgauge.harness.commands.numbers import WholeNumber
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import lines, save
from streamgauge.harness.judge.outputs.kinds import check_place
from streamgauge.harness.record.certificate import Certificate, Point, processes

_MOST_LOADS = 10


@click.command(name="calibrate")
@click.option(
    "--streams",
    metavar="N,N,…",
    default=",".join(map(str, measurement.STREAMS)),
    show_default=True,
    help="Measure with this many streams at once for each core that serves.",
)
@click.option(
    "--seconds",
    type=WholeNumber(5, 600),
    default=measurement.SECONDS,
    show_default=True,
    help="How long each number of streams is measured.",
)
@click.option("--plain-only", is_flag=True, help="Measure only plain HTTP, no TLS.")
@click.option("--one-core", is_flag=True, help="Measure only one process on one core.")
@click.option(
    "-o", "--output", metavar="FILE", help="Also write the certificate to this file, such as certificate.json."
)
@click.pass_context
def command(
    ctx: click.Context, /, streams: str, seconds: int, plain_only: bool, one_core: bool, output: str | None
) -> None:
    """Measure how exact the recorded times are on this machine.

    Runs load against the reference server and compares what was recorded with the server's own log: in one process on
    one core, and in as many processes as this machine has cores for them. It takes less than two minutes. The
    certificate is kept for this machine: later runs and reports state it, and `run --processes auto` sizes by it.

    Run nothing else meanwhile. It exits with 3 if no load was exact enough to be certified.
    """
    numbers = _numbers(streams)
    if output is not None and output != "-":
        check_place(output)
    tell = lines.warn if output == "-" else lines.show
    layouts = measurement.layouts(cores.places(), cores.usable())
    with kept.only_calibration():
        kinds = [False] if plain_only else [False, True]
        certificate = measurement.calibrate(
            numbers, seconds, kinds, lambda point: tell(_line(point)), among=layouts[:1] if one_core else layouts
        )
        kept.keep(certificate)
    tell(*_conclusion(certificate))
    if output is not None:
        document = kept.document(certificate).decode()
        lines.document(document) if output == "-" else save(document, output)
    ctx.exit(Exit.MET if certificate.certifies else Exit.INCONCLUSIVE)


def _numbers(streams: str) -> list[int]:
    try:
        numbers = sorted({int(number) for number in streams.split(",")})
    except ValueError:
        raise ScenarioError(f"--streams {streams!r}: write numbers with commas in between, as in 50,200") from None
    if not 1 <= numbers[0] <= numbers[-1] <= measurement.MOST_STREAMS or len(numbers) > _MOST_LOADS:
        raise ScenarioError(
            f"--streams {streams!r}: at most {_MOST_LOADS} numbers, from 1 to {measurement.MOST_STREAMS:,}"
        )
    return numbers


def _line(point: Point) -> str:
    layout = processes(point.processes) + (", TLS" if point.tls else "")
    return (
        f"{layout:17} {point.streams:6,} streams  "
        f"TTFT off by {point.ttft_error_p99:7.3f} ms, ITL by {point.itl_error_p99:7.3f} ms (P99)  "
        f"{point.events_per_second:7,.0f} events/s, {point.events_per_cpu_second:7,.0f} per CPU-second  "
        f"(server behind its schedule by {point.server_late_p99:5.1f} ms, P99)"
        f"{f'  not certified: {point.doubt}' if point.doubt else ''}"
    )


def _conclusion(certificate: Certificate) -> list[str]:
    return [
        f"certificate of {certificate.made_at}; errors are P99s of TTFT and ITL",
        *(f"  {name:12} {fact}" for name, fact in certificate.valid_for.items()),
        *(f"  {sentence}" for sentence in certificate.sentences()),
        f"kept in {kept.path()}",
    ]
