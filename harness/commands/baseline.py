"""`streamgauge baseline …`: manages the accepted runs that other runs are compared with."""

from collections.abc import Sequence
from typing import Any

import click

from streamgauge.harness.commands import budget, click_options
from streamgauge.harness.config.load import load
from streamgauge.harness.judge.compare import baseline, recorded_runs
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.noise import report_all
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.outputs import lines, save, terminal_tables
from streamgauge.harness.judge.outputs.kinds import check_place
from streamgauge.harness.judge.store import Store
from streamgauge.harness.run import labels

_name = click.option("--name", required=True, help="The name of the baseline.")
_config = click_options.config_for("Take the metrics of this file's [regression].")


@click.group(name="baseline", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context, /) -> None:
    """Manage baselines: accepted runs to compare with."""
    if ctx.invoked_subcommand is None:
        lines.document(f"{ctx.get_help()}\n")


@command.command()
@click.argument("db")
@click.option("--name", required=True, help="The name of the baseline; a new name begins a new baseline.")
@click_options.run_ids
@click.option("--label", multiple=True, metavar="NAME=VALUE", help="Every finished run with this label.")
@click.option("--branch", help="Every finished run of this git branch: the same as --label branch=BRANCH.")
@click.option("--force", metavar="WHY", help="Accept the runs that --run names even if they are not good; WHY is kept.")
def accept(
    db: str, name: str, run_ids: Sequence[str], label: Sequence[str], branch: str | None, force: str | None
) -> None:
    """Add runs to a baseline.

    Without --run, --label and --branch: the newest run, with all runs of its series. A run that is invalid or was
    interrupted, missed a rule, or in which more streams failed than its rules allow (without such a rule, more than
    5 %) is no example for others: it is left out, and refused if --run names it.
    """
    if force is not None and not (run_ids and force.strip()):
        raise click.UsageError("--force takes a reason, and the runs that it is for: --run ID --force 'the reason'")
    wanted = labels.parse(label, "--label") | ({"branch": branch} if branch else {})
    with Store.open(db) as store:
        chosen: list[str] = list(run_ids)
        faults: dict[str, str] = {}
        if not chosen:  # an unfit run is left out, and the others are still accepted
            chosen, faults = baseline.fit(store, baseline.labelled(store, wanted) if wanted else baseline.newest(store))
        added = baseline.accept(store, name, chosen, force)
        lines.show(f"{name}: {some(added, 'run')} added, {len(store.accepted()[name])} in all")
        terminal_tables.render_damaged(store.damaged())
    for run_id, fault in faults.items():
        lines.show(f"  {run_id} is left out: {fault}")


@command.command(name="list")
@click.argument("db")
def list_baselines(db: str) -> None:
    """List the baselines of a database."""
    with Store.open(db) as store:
        terminal_tables.render_baselines(store.accepted())
        terminal_tables.render_damaged(store.damaged())


@command.command()
@click.argument("db")
@_name
@_config
@budget.option
@budget.write_option
@click.pass_context
def noise(ctx: click.Context, /, db: str, name: str, config: str | None, write: bool, **options: Any) -> None:
    """Show how far apart a baseline's runs are.

    For each gated metric it says how often a gate by this baseline would stop a build that is equal, and how large a
    change it would find.
    """
    seconds = budget.seconds_of(options["budget"], write=write)
    settings = load(config).regression
    gate = Gate.of(settings)
    with Store.open(db) as store:
        members = baseline.members(store, name).values()
        if seconds is not None:
            budget.check_streams([each.run for each in members if each.figures is not None], name)
        runs = None if seconds is None else recorded_runs.recorded(store, [each.run for each in members], gate)
        found = report_all([baseline.figures_of(store, member, gate) for member in members], gate)
    lines.show(*found)
    if seconds is not None and runs is not None:
        proposal = budget.show(runs, settings, seconds)
        if write:
            ctx.exit(budget.written(proposal, config))


@command.command()
@click.argument("db")
@_name
@click.option("--run", "run_ids", metavar="ID", multiple=True, help="Remove only this run; may be repeated.")
def remove(db: str, name: str, run_ids: Sequence[str]) -> None:
    """Take runs out of a baseline, or delete it.

    The runs themselves stay in the database.
    """
    with Store.open(db) as store:
        removed, left = baseline.remove(store, name, run_ids)
    lines.show(f"{name}: {some(removed, 'run')} taken out, {left} left")


@command.command()
@click.argument("db")
@_name
@_config
@click.option(
    "-o", "--output", metavar="FILE", required=True, help="The file to write, such as main.json; - for standard output."
)
def export(db: str, name: str, config: str | None, output: str) -> None:
    """Write a baseline to a small file, to be committed or kept by CI."""
    if output != "-":
        check_place(output)
    with Store.open(db) as store:
        text = baseline.export(store, name, Gate.of(load(config).regression))
    if output == "-":
        lines.document(text)
    else:
        save(text, output)


@command.command(name="import")
@click.argument("db")
@click.argument("file")
@click.option("--name", help="The name of the baseline.  [default: the name in the file]")
def import_baseline(db: str, file: str, name: str | None) -> None:
    """Add the runs of an exported file to a baseline."""
    with Store.create(db) as store:
        name, added = baseline.import_file(store, file, name)
        lines.show(f"{name}: {some(added, 'run')} added, {len(store.accepted()[name])} in all")
