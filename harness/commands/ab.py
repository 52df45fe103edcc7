"""`streamgauge ab`: two builds that both run, compared in turns."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from streamgauge.harness.commands import click_options, pages
from streamgauge.harness.commands.numbers import WholeNumber
from streamgauge.harness.compare.series import Series, Turn, Work, sides, with_run_time
from streamgauge.harness.config.load import load
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare import comparison, stored_runs
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.run_shapes import RunShapes
from streamgauge.harness.judge.outputs import dispatch, kinds, lines
from streamgauge.harness.judge.outputs.kinds import check_place
from streamgauge.harness.judge.store import Store
from streamgauge.harness.run import labels


@click.command(name="ab")
@click.argument("scenario")
@click.option("--a", "a", required=True, metavar="URL", help="The endpoint of the known build.")
@click.option("--b", "b", required=True, metavar="URL", help="The endpoint of the build that may be worse.")
@click.option("--pairs", type=WholeNumber(1), default=6, show_default=True, help="Number of runs on each endpoint.")
@click_options.of_every_run
@click_options.page("Write the comparison as an HTML page to this file, such as page.html.")
@click_options.of_run("json", "output", "inconclusive")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    scenario: str,
    pairs: int,
    passed_on: Sequence[str],
    label: Sequence[str],
    **options: Any,
) -> None:
    """Compare two builds that are both running.

    Their runs take turns (A B, B A, A B, …) and are compared in pairs, so that a drift of the machine or of the
    network cancels out. Exit code 0: B is not worse, 1: B is worse, 3: too few runs to tell.

    \b
        streamgauge ab chat --a https://old.example --b https://new.example --users 20 --run-time 1m
    """
    settings = load(options["config"]).regression
    gate, shapes = Gate.of(settings), RunShapes()
    outputs = kinds.requested(options.pop("output"), options.pop("json"))
    inconclusive, report = options.pop("inconclusive"), options.pop("report")
    if report:
        check_place(report)
    hosts = {side: options.pop(side) for side in ("a", "b")}
    all_labels = labels.provenance() | labels.parse(label, "--label")
    options = with_run_time(options, settings)
    series = Series(Work(scenario, options, all_labels, passed_on))
    order = [(pair, side) for pair in range(pairs) for side in ("ab", "ba")[pair % 2]]
    series.run(
        Turn(
            {"pair": str(pair + 1), "side": side}, {"host": hosts[side], "line": f"{side}, pair {pair + 1} of {pairs}"}
        )
        for pair, side in order
    )
    if Exit.MISTAKE in series.codes:
        ctx.exit(Exit.MISTAKE)
    if series.ended:  # what ended it would decide which pairs count
        lines.warn("streamgauge: a run did not finish, so there is nothing to compare")
        ctx.exit(Exit.INCONCLUSIVE)
    with Store.open(options["db"]) as store:
        compared = stored_runs.in_turns(store, *sides(series.runs()), gate, shapes.take)
    more = [partial(pages.of_gate, compared, gate, shapes, report, "b")] if report else []
    dispatch.show(compared, outputs, more)
    ctx.exit(comparison.exit_code(compared, inconclusive))
