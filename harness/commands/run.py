"""`streamgauge run`: runs a scenario once, or several times, with or without a gate."""

from collections.abc import Sequence
from typing import Any

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.compare import stages
from streamgauge.harness.compare.series import Series, Turn, Work, turns, worst
from streamgauge.harness.config.load import load
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare import comparison, regression
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.outputs import dispatch
from streamgauge.harness.run import labels
from streamgauge.harness.run.launch import launch

_REPORTING = ("report", "json", "output")  # where a run's result goes


@click.command(name="run")
@click.argument("scenario")
@click_options.of_run("host", required=True)
@click_options.of_every_run
@click_options.of_run("report", "json", "output", "inconclusive")
@click.option("--repeat", type=click.IntRange(1), help="Number of runs of the same work.  [default: 1; 3 with --gate]")
@click.option(
    "--gate",
    "baseline",
    metavar="BASELINE",
    help="Compare the runs with this baseline, or with the .json file of one; 5 more runs if they look worse.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    scenario: str,
    repeat: int | None,
    baseline: str | None,
    passed_on: Sequence[str],
    label: Sequence[str],
    **options: Any,
) -> None:
    """Run a scenario with Locust.

    SCENARIO is the path of your own locustfile, or the name of a shipped one: app_switchers, arrivals,
    cached_prompts, chat, commuters, conversation, disconnects, handover, mixed, noisy_neighbour, progressive,
    retry_storm, slow_mobile, soak, spike, steps or tools. scenarios/README.md says what each is for.

    This is `locust -f SCENARIO --headless …` with fewer words. Options after `--` are passed to Locust unchanged:

    \b
        streamgauge run mixed --host https://staging.example --users 100 --run-time 2m -- --processes 2
    """
    all_labels = labels.provenance() | labels.parse(label, "--label")
    if baseline is None and repeat in {None, 1}:
        ctx.exit(launch(scenario, {**options, "label": labels.written(all_labels)}, passed_on))
    reporting = {name: options.pop(name) for name in _REPORTING}
    series = Series(Work(scenario, options, all_labels, passed_on))
    # Only the last run writes files and reports to CI: otherwise each run would overwrite the files of the one before.
    all_turns = turns(1, repeat or regression.FIRST_RUNS)
    all_turns[-1] = Turn(all_turns[-1].labels, reporting, environ=None)
    ctx.exit(_repeated(series, all_turns) if baseline is None else _gated(series, all_turns, baseline))


def _repeated(series: Series, all_turns: Sequence[Turn]) -> Exit:
    series.run(all_turns)
    return worst(series.codes)


def _gated(series: Series, all_turns: Sequence[Turn], baseline: str) -> Exit:
    options = series.work.options
    config = load(options["config"])
    gate = Gate.of(config.regression)
    stages.check(options["db"], baseline)
    complete = stages.first(series, all_turns, baseline)
    codes = list(series.codes)
    if Exit.MISTAKE in codes:
        return Exit.MISTAKE
    if not complete:
        click.echo("streamgauge: a run did not finish, so the gate has nothing to judge", err=True)
        return worst([*codes, Exit.INCONCLUSIVE])
    compared = stages.judge(series, baseline, gate, lambda line: click.echo(line, err=True))
    dispatch.show(compared, dispatch.requested([]))
    gated = comparison.exit_code(compared, options["inconclusive"])
    # Without rules every run is INCONCLUSIVE, which must not decide the exit code.
    return worst([*(codes if config.sla else []), gated])
