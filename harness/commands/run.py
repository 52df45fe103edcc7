"""`streamgauge run`: runs a scenario once, or several times, with or without a gate."""

from collections.abc import Sequence
from typing import Any

import click

from streamgauge.harness import programs
from streamgauge.harness.commands import click_options
from streamgauge.harness.commands.numbers import WholeNumber
from streamgauge.harness.run import labels
from streamgauge.harness.run.launch import launch

_REPORTING = ("report", "json", "output")  # where a run's result goes


@click.command(name="run")
@click.argument("scenario")
@click_options.of_run("host", required=True)
@click_options.of_every_run
@click_options.of_run("report", "all", "json", "output", "inconclusive")
@click.option(
    "--repeat",
    type=WholeNumber(1),
    help="Number of runs of the same work.  [default: 1; with --gate, until they are clear, at most 3 or the config's "
    "first_runs]",
)
@click.option(
    "--gate",
    "baseline",
    metavar="BASELINE",
    help="Compare the runs with this baseline, or with the .json file of one; 5 more runs, or the config's fresh_runs, "
    "if they look worse.",
)
@click_options.alert
@click.option(
    "--web",
    is_flag=True,
    help="Start Locust's web UI at http://127.0.0.1:8089, for this machine only; runs begin and end there. "
    "-- --web-port N changes the port.",
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
    cached_prompts, chat, commuters, concurrency, conversation, disconnects, handover, mixed, noisy_neighbour, probe,
    progressive, retry_storm, slow_mobile, soak, spike, steps or tools. scenarios/README.md says what each is for.

    This is `locust -f SCENARIO --headless …` with fewer words. Options after `--` are passed to Locust unchanged:

    \b
        streamgauge run mixed --host https://staging.example --users 100 --run-time 2m -- --tags fast
    """
    all_labels = labels.provenance() | labels.parse(label, "--label")
    start = programs.WEB_UI if options.pop("web") else programs.HEADLESS
    alert = options.pop("alert")
    if start is programs.WEB_UI and (baseline is not None or repeat is not None or alert):
        raise click.UsageError("--web starts no run by itself: leave out --repeat, --gate and --alert")
    if baseline is None and repeat in {None, 1} and not alert:
        ctx.exit(launch(scenario, {**options, "label": labels.written(all_labels)}, passed_on, start=start))
    # Imported only here: without the gate and its statistics, a single run starts 0.3 s earlier.
    from streamgauge.harness.commands import several_runs  # noqa: PLC0415
    from streamgauge.harness.compare.series import Work  # noqa: PLC0415

    reporting = {"alert": alert, **{name: options.pop(name) for name in _REPORTING}}
    ctx.exit(several_runs.run(Work(scenario, options, all_labels, passed_on), reporting, repeat, baseline))
