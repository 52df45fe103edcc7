"""The commands `compare` and `baseline`: runs that are there already, held against others. Starts no run."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import click

from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import FEWEST_BASELINE_RUNS
from streamgauge.harness.errors import BaselineError, ScenarioError, StoreError
from streamgauge.harness.judge.compare import baseline, comparison, history, noise
from streamgauge.harness.judge.compare import runs as compared_runs
from streamgauge.harness.judge.compare.comparison import Comparison, Figures
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.outputs import dispatch, history_csv, save, terminal
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import judgement
from streamgauge.reports import trend

inconclusive_option = click.option(
    "--inconclusive",
    type=click.Choice(["pass", "fail"]),
    help="Exit with 0 or 1, instead of 3, when there was too little to judge. An invalid run never passes.",
)


output_option = click.option(
    "--output",
    multiple=True,
    metavar="KIND=FILE",
    help=f"Tell the result to CI, too: {', '.join(dispatch.KINDS)} as KIND=FILE, or github. May be repeated; "
    "a GitHub job gets github by itself.",
)


@click.command()
@click.argument("db")
@click.argument("other_db", required=False)
@click.option("--baseline", "name", metavar="NAME|FILE", help="Gate by this baseline, or by the .json file of one.")
@click.option("--run", "run_ids", multiple=True, help="A run's id or the beginning of it; may be repeated.")
@click.option("--config", "config_path", help="Whose [regression] to gate by.  [default: ./streamgauge.toml]")
@click.option("--json", "json_path", help="Write the comparison to this file; - for standard output.")
@output_option
@inconclusive_option
@click.pass_context
def compare(ctx: click.Context, /, db: str, **options: Any) -> None:
    """Is this build slower than the last?

    With --baseline it is a gate: the newest run of DB, with all of its series (`run --repeat 3`), against the accepted
    runs. Exit code 0: not worse, 1: worse, 3: too little to tell.

    \b
        streamgauge compare gauge.db --baseline main

    Without, it is a look at two single runs, and no verdict: the newest of DB and of OTHER_DB, or two with --run.
    """
    ctx.exit(gate(db, **options) if options["name"] else _look(db, options["other_db"], options["run_ids"]))


@click.command(name="history")
@click.argument("db")
@click.option("--run", "run_id", help="Runs of the same work as this one.  [default: as the newest]")
@click.option("-o", "--output", "path", help="Write the page to this file, as in history.html.")
@click.option("--csv", "csv_path", help="Write the runs as CSV to this file; - for standard output.")
@click.option("--config", "config_path", help="Whose [regression] has the margin.  [default: ./streamgauge.toml]")
def history_command(
    db: str, run_id: str | None, path: str | None, csv_path: str | None, config_path: str | None
) -> None:
    """How did TTFT go over all the runs?

    P95 by run, with accepted baselines and the points where it changed for good; the page has a histogram of each day.
    """
    with Store.open(db) as store:
        found = history.read(store, run_id, load(config_path).regression.margin)
    if not found.points:
        raise StoreError(f"{db}: no run of this work has finished yet")
    if csv_path == "-":
        click.echo(history_csv.render(found), nl=False)
    else:
        terminal.render_history(found)
    if csv_path not in {None, "-"}:
        save(history_csv.render(found), str(csv_path))
    if path:
        save(trend.render(found), path)


@click.group(name="baseline")
def baseline_group() -> None:
    """The accepted runs that others are compared with."""


@baseline_group.command()
@click.argument("db")
@click.option("--name", required=True, help="The baseline; it begins with its first run.")
@click.option("--run", "run_ids", multiple=True, help="A run's id or the beginning of it; may be repeated.")
@click.option("--label", multiple=True, metavar="NAME=VALUE", help="Every finished run with this label.")
@click.option("--branch", help="Every finished run of this git branch: the same as --label branch=…")
def accept(db: str, name: str, run_ids: tuple[str, ...], label: tuple[str, ...], branch: str | None) -> None:
    """Add runs to a baseline: by default the newest one, with all of its series."""
    labels = pairs(label) | ({"branch": branch} if branch else {})
    with Store.open(db) as store:
        chosen: list[str] = list(run_ids)
        faults: dict[str, str] = {}
        if not chosen:  # of many, one that failed keeps no other out
            chosen, faults = baseline.fit(store, baseline.labelled(store, labels) if labels else baseline.newest(store))
        added = baseline.accept(store, name, chosen)
        click.echo(f"{name}: {some(added, 'run')} added, {len(store.accepted()[name])} in all")
    for run_id, fault in faults.items():
        click.echo(f"  {run_id} is left out: {fault}")


@baseline_group.command(name="list")
@click.argument("db")
def list_baselines(db: str) -> None:
    """The baselines of a database."""
    with Store.open(db) as store:
        terminal.render_baselines(store.accepted())


@baseline_group.command(name="noise")
@click.argument("db")
@click.option("--name", required=True)
@click.option("--config", "config_path", help="Whose [regression] names the metrics.  [default: ./streamgauge.toml]")
def noise_of_baseline(db: str, name: str, config_path: str | None) -> None:
    """How far its runs are apart, and what a gate by it would find."""
    watched = Gate.of(load(config_path).regression)
    with Store.open(db) as store:
        known = baseline.members(store, name).values()
        tell_noise([baseline.figures_of(store, member, watched) for member in known], watched)


@baseline_group.command()
@click.argument("db")
@click.option("--name", required=True)
@click.option("--run", "run_ids", multiple=True, help="Only this run; may be repeated.")
def remove(db: str, name: str, run_ids: tuple[str, ...]) -> None:
    """Take runs out of a baseline, or drop it whole. The runs stay in the database."""
    with Store.open(db) as store:
        gone, left = baseline.remove(store, name, run_ids)
    click.echo(f"{name}: {some(gone, 'run')} taken out, {left} left")


@baseline_group.command()
@click.argument("db")
@click.option("--name", required=True)
@click.option("--config", "config_path", help="Whose [regression] names the metrics.  [default: ./streamgauge.toml]")
@click.option("-o", "--output", required=True, help="The file to write, as in main.json; - for standard output.")
def export(db: str, name: str, config_path: str | None, output: str) -> None:
    """Write a baseline to one small file, to be committed or kept by CI."""
    with Store.open(db) as store:
        text = baseline.export(store, name, Gate.of(load(config_path).regression))
    if output == "-":
        click.echo(text, nl=False)
    else:
        save(text, output)


@baseline_group.command(name="import")
@click.argument("db")
@click.argument("file")
@click.option("--name", help="Another name than it has in the file.")
def import_baseline(db: str, file: str, name: str | None) -> None:
    """Add the runs of such a file to a baseline of this database."""
    with Store.create(db) as store:
        name, added = baseline.import_file(store, file, name)
        click.echo(f"{name}: {some(added, 'run')} added, {len(store.accepted()[name])} in all")


def pairs(labels: Sequence[str]) -> dict[str, str]:
    for label in labels:
        if not label.partition("=")[0] or "=" not in label:
            raise ScenarioError(f"--label {label!r}: write it as NAME=VALUE")
    return dict(label.split("=", 1) for label in labels)


def gate(  # noqa: PLR0913 - click hands over each option
    db: str,
    *,
    name: str,
    other_db: str | None = None,
    run_ids: Sequence[str] = (),
    config_path: str | None = None,
    json_path: str | None = None,
    output: Sequence[str] = (),
    inconclusive: Literal["pass", "fail"] | None = None,
) -> int:
    """Compare with a baseline, say so, and return the exit code."""
    outputs = dispatch.requested(output, json_path)
    if other_db:
        raise BaselineError(f"a baseline is of the database itself, or a .json file: take {other_db} out")
    with Store.open(db) as store:
        watched = Gate.of(load(config_path).regression)
        found = compared_runs.with_baseline(store, name, run_ids or baseline.newest(store), watched)
    return tell(found, outputs, inconclusive)


def tell(found: Comparison, outputs: Sequence[dispatch.Output], inconclusive: Literal["pass", "fail"] | None) -> int:
    """Print a comparison, write it where it was asked for, and return the exit code."""
    dispatch.show(found, outputs)
    return comparison.exit_code(found, inconclusive)


def tell_noise(runs: Iterable[Figures], watched: Gate) -> None:
    """How far these runs are apart in each gating metric, and what a gate makes of that."""
    seen = list(runs)
    for each in watched.metrics:
        readings = [run[each.subject.text] for run in seen if each.subject.text in run]
        sizes = sorted({FEWEST_BASELINE_RUNS, watched.window})
        click.echo("\n".join(noise.report(each, readings, sizes, watched.test)))


def _look(db: str, other_db: str | None, run_ids: Sequence[str]) -> int:
    if len(run_ids) != (0 if other_db else 2):
        raise BaselineError(
            "compare with what? Write --baseline NAME for a gate; for a look two databases, or one with two --run"
        )
    before, after = run_ids or (None, None)
    with Store.open(db) as one, Store.open(other_db or db) as two:
        terminal.render_two_runs(judgement.judge(one, before), judgement.judge(two, after))
    return 0
