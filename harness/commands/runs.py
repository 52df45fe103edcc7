"""`streamgauge runs`: lists the runs of a database."""

from collections.abc import Sequence
from contextlib import suppress

import click

from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.judge.outputs import terminal_tables
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.judge.verdict.judgement import RunVerdict, judge

_JUDGED = 20  # the newest; judging reads all streams of a run


@click.command(name="runs")
@click.argument("db")
@click.option("--all", "every", is_flag=True, help=f"Judge every run, and not only the newest {_JUDGED}.")
def command(db: str, every: bool) -> None:
    """List the runs of a database, oldest first, each with its verdict.

    A monitor's runs have none: `streamgauge status` and `streamgauge incidents` say how its service levels are.
    """
    with Store.open(db) as store:
        runs = store.runs()
        judged = [run for run in runs if run.probes is None]
        probes = {run.id: store.count(run.id) for run in runs if run.probes is not None}
        verdicts = _verdicts(store, judged if every else judged[-_JUDGED:])
        terminal_tables.render_runs(runs, verdicts, probes=probes)
        terminal_tables.render_damaged(store.damaged())


def _verdicts(store: Store, runs: Sequence[Run]) -> dict[str, RunVerdict]:
    """By the run's id; without runs that are under way, and those that cannot be judged: `judge` says why."""
    verdicts = {}
    for run in runs:
        if run.status != "running":
            with suppress(StreamgaugeError):
                verdicts[run.id] = judge(store, run.id).verdict
    return verdicts
