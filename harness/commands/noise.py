"""`streamgauge noise`: how far apart equal runs are."""

from collections.abc import Sequence
from typing import Any

import click

from streamgauge.harness.commands import budget, click_options
from streamgauge.harness.commands.numbers import WholeNumber
from streamgauge.harness.compare.series import Series, Work, turns, with_run_time
from streamgauge.harness.config.load import load
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare import noise, recorded_runs
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.run_figures import figures_of_runs
from streamgauge.harness.judge.outputs import lines
from streamgauge.harness.judge.store import Store
from streamgauge.harness.run import labels


@click.command(name="noise")
@click.argument("scenario")
@click_options.of_run("host", required=True)
@click.option(
    "--runs", type=WholeNumber(noise.FEWEST_RUNS), default=10, show_default=True, help="Number of equal runs."
)
@click_options.of_every_run
@budget.option
@budget.write_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    scenario: str,
    runs: int,
    passed_on: Sequence[str],
    label: Sequence[str],
    write: bool,
    **options: Any,
) -> None:
    """Measure how far apart equal runs are.

    Runs the scenario several times on one target. For each gated metric it says how often the regression gate would
    stop a build that is equal, and how large a change the gate would find. The runs can be accepted as a baseline.

    With --budget 5m, which a pull request may take, it proposes the length and number of a gate's runs, its metrics
    and its margin. What it proposes can be far from runs that are far from its length: record runs of about 30 s.

    It exits with 3 if too few of the runs could be compared, or if something ended them early.
    """
    seconds = budget.seconds_of(options.pop("budget"), write=write)
    if write:
        budget.check_write(options["config"])
    settings = load(options["config"]).regression
    gate = Gate.of(settings)
    options = with_run_time(options, settings)
    all_labels = labels.provenance() | labels.parse(label, "--label")
    series = Series(Work(scenario, options, all_labels, passed_on))
    series.run(turns(1, runs))
    if Exit.MISTAKE in series.codes:
        ctx.exit(Exit.MISTAKE)
    with Store.open(options["db"]) as store:
        observed = figures_of_runs(store, series.ids(), gate)
        equal = recorded_runs.recorded(store, list(observed.figures), gate) if seconds and observed.figures else None
    lines.show(*noise.report_all(observed.figures.values(), gate))
    for sentence in (*(f"{run} is left out: {fault}" for run, fault in observed.faults.items()), *observed.notes):
        lines.show(f"  {sentence}")
    proposal = budget.show(equal, settings, seconds) if seconds and equal is not None else None
    tells = not series.ended and noise.tells(observed.figures.values(), gate)
    code = Exit.MET if tells else Exit.INCONCLUSIVE
    if write:
        code = max(code, budget.written(proposal if tells else None, options["config"]))
    ctx.exit(code)
