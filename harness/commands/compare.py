"""`streamgauge compare`: compares runs of a database with a baseline, or one with another. Starts no run."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from streamgauge.harness.commands import click_options, pages
from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Regression
from streamgauge.harness.errors import BaselineError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare import baseline, comparison, stored_runs
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.run_shapes import RunShapes
from streamgauge.harness.judge.outputs import dispatch, kinds, terminal_tables
from streamgauge.harness.judge.outputs.kinds import check_place
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import judgement


@click.command(name="compare")
@click.argument("db")
@click.argument("other_db", required=False)
@click.option(
    "--baseline",
    "name",
    metavar="NAME|FILE",
    help="Gate by this baseline of DB, or by the .json file of an exported one.",
)
@click_options.run_ids
@click_options.config_for("Gate by the [regression] of this file.")
@click_options.page("Write the comparison as an HTML page to this file, such as page.html.")
@click_options.of_run("json", "output", "inconclusive")
@click.pass_context
def command(
    ctx: click.Context, /, db: str, other_db: str | None, name: str | None, run_ids: Sequence[str], **options: Any
) -> None:
    """Find out whether a build is slower than the one before.

    With --baseline it is a gate: the newest run of DB, together with all runs of its series (`run --repeat 3`),
    against the accepted runs. Exit code 0: not worse, 1: worse, 3: too few runs to tell.

    \b
        streamgauge compare gauge.db --baseline main

    Without --baseline it shows the differences of two single runs and gives no verdict: the newest run of DB and
    the newest of OTHER_DB, or two runs of DB that --run names.

    The page lays the distributions of both sides over each other.
    """
    report = options["report"]
    settings = load(options["config"]).regression
    if report:
        check_place(report)
    if name is None:
        ctx.exit(_two_runs(db, other_db, run_ids, report, settings))
    outputs = kinds.requested(options["output"], options["json"])
    if other_db:
        raise BaselineError(f"a baseline is in the database itself, or in a .json file: remove {other_db}")
    gate, shapes = Gate.of(settings), RunShapes()
    with Store.open(db) as store:
        compared = stored_runs.with_baseline(store, name, run_ids or baseline.newest(store), gate, shapes.take)
    more = [partial(pages.of_gate, compared, gate, shapes, report)] if report else []
    dispatch.show(compared, outputs, more)
    ctx.exit(comparison.exit_code(compared, options["inconclusive"]))


def _two_runs(db: str, other_db: str | None, run_ids: Sequence[str], report: str | None, settings: Regression) -> Exit:
    if len(run_ids) != (0 if other_db else 2):
        raise BaselineError(
            "nothing to compare with: give --baseline NAME for a gate, or a second database, or two --run"
        )
    before, after = run_ids or (None, None)
    with Store.open(db) as one, Store.open(other_db or db) as two:
        runs = ((store, judgement.of_one_load(store, run_id)) for store, run_id in ((one, before), (two, after)))
        old, new = (judgement.judge(store, run.id) for store, run in runs)
    terminal_tables.render_two_runs(old, new)
    if report:
        pages.of_two_runs(old, new, settings, report)
    return Exit.MET
