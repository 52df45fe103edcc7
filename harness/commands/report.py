"""`streamgauge report`: the HTML page of a run."""

from contextlib import nullcontext

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.judge.outputs.kinds import check_place
from streamgauge.harness.judge.second_process import started_early


@click.command(name="report")
@click.argument("db")
@click_options.run_id
@click_options.config_for("Judge by the rules of this file.", "the rules that the run was run with")
@click.option(
    "-o", "--output", metavar="FILE", default="report.html", show_default=True, help="Write the page to this file."
)
@click.option(
    "--redact",
    "redacted",
    is_flag=True,
    help="Leave out hosts, values of labels, error texts, request ids, names of machines, and names in the config.",
)
def command(db: str, run_id: str | None, config: str | None, output: str, redacted: bool) -> None:
    """Write the HTML report of a run.

    The report is one self-contained file that opens without a network. With --redact it can be mailed outside: names of
    the scenario, its user classes, networks and behaviours stay.
    """
    check_place(output)
    # A second process would read the tables themselves, with all that --redact leaves out.
    with nullcontext() if redacted else started_early(db) as second:
        from streamgauge.harness.commands import reported  # noqa: PLC0415 - takes as long as `second` takes to start

        reported.write(db, second, run_id, config, output, redacted)
