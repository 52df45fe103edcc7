"""`streamgauge history`: TTFT over all runs of the same work."""

from collections.abc import Mapping

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.config.load import load
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.compare import history
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.outputs import history_csv, lines, save, terminal_tables
from streamgauge.harness.judge.outputs.kinds import check_place
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.wording import visible
from streamgauge.reports import run_pages, trend
from streamgauge.reports.html import finished


@click.command(name="history")
@click.argument("db")
@click.option(
    "--run", "run_id", metavar="ID", help="Show the runs of the same work as this one.  [default: as the newest run]"
)
@click.option("-o", "--output", metavar="FILE", help="Write a page to this file, such as history.html.")
@click.option(
    "--reports",
    metavar="FOLDER",
    help="Link each run on the page to its report in this folder, whatever the file is called.",
)
@click.option("--csv", metavar="FILE", help="Write the runs as CSV to this file; - for standard output.")
@click_options.config_for("Take the margin of this file's [regression].")
def command(
    db: str, run_id: str | None, output: str | None, reports: str | None, csv: str | None, config: str | None
) -> None:
    """Show how TTFT developed over all runs.

    Prints the P95 of each run, the accepted baselines, and the points where the level changed. The page also has the
    levels of P50 and P95, the releases (the label release or version), and the spread of each day.

    \b
        streamgauge history gauge.db -o site/history.html --reports site/reports
    """
    if reports and not output:
        raise click.UsageError("--reports is for the page: name its file with -o")
    for path in {output, csv} - {None, "-"}:
        check_place(str(path))
    links = run_pages.links(reports, str(output)) if reports else {}
    with Store.open(db) as store:
        runs_history = history.read(store, run_id, load(config).regression.margin)
    terminal_tables.render_damaged(runs_history.damaged)
    if not runs_history.points:
        raise StoreError(f"{db}: no run of this work has finished yet; --run ID takes another run's work")
    if csv == "-":
        lines.document(history_csv.render(runs_history))
    else:
        terminal_tables.render_history(runs_history)
    if csv not in {None, "-"}:
        save(history_csv.render(runs_history), str(csv))
    if output:
        save(finished(trend.render(runs_history, links)), output)
    if reports:
        _tell_missing(db, runs_history, links, reports)


def _tell_missing(db: str, found: history.History, links: Mapping[str, str], folder: str) -> None:
    """How many runs have no report in the folder, and the command that writes one."""
    missing = [point.run.id for point in found.points if visible(point.run.id) not in links]
    if missing:
        example = f"streamgauge report {db} --run {missing[-1]} -o {folder.rstrip('/')}/{missing[-1]}.html"
        lines.warn(f"{some(len(missing), 'run')} without a report in {folder}; write one with: {example}")
