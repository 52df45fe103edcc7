"""`streamgauge noise`: how far apart equal runs are."""

from collections.abc import Sequence
from typing import Any

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.compare.series import Series, Work, turns
from streamgauge.harness.config.load import load
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare import noise
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.run_figures import figures_of_runs
from streamgauge.harness.judge.outputs import lines
from streamgauge.harness.judge.store import Store
from streamgauge.harness.run import labels


@click.command(name="noise")
@click.argument("scenario")
@click_options.of_run("host", required=True)
@click.option(
    "--runs", type=click.IntRange(noise.FEWEST_RUNS), default=10, show_default=True, help="Number of equal runs."
)
@click_options.of_every_run
@click.pass_context
def command(
    ctx: click.Context,
    /,
    scenario: str,
    runs: int,
    passed_on: Sequence[str],
    label: Sequence[str],
    **options: Any,
) -> None:
    """Measure how far apart equal runs are.

    Runs the scenario several times on one target. For each gated metric it says how often the regression gate would
    stop a build that is equal, and how large a change the gate would find. The runs can be accepted as a baseline.
    """
    gate = Gate.of(load(options["config"]).regression)
    all_labels = labels.provenance() | labels.parse(label, "--label")
    series = Series(Work(scenario, options, all_labels, passed_on))
    series.run(turns(1, runs))
    if Exit.MISTAKE in series.codes:
        ctx.exit(Exit.MISTAKE)
    with Store.open(options["db"]) as store:
        observed = figures_of_runs(store, series.ids(), gate)
    lines.show(*noise.report_all(observed.figures.values(), gate))
    for sentence in (*(f"{run} is left out: {fault}" for run, fault in observed.faults.items()), *observed.notes):
        lines.show(f"  {sentence}")
