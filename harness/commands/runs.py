"""`streamgauge runs`: lists the runs of a database."""

from collections.abc import Sequence
from contextlib import suppress

import click

from streamgauge.harness.capacity import outputs
from streamgauge.harness.capacity.kept import found_in
from streamgauge.harness.counting import some
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.judge.outputs import terminal_tables
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.judge.verdict.judgement import RunVerdict, is_search, judge

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
        instead = _answers(store, runs) | {
            run.id: f"monitor, {some(store.count(run.id), 'probe')}" for run in runs if run.probes is not None
        }
        judged = [run for run in runs if run.id not in instead]
        terminal_tables.render_runs(runs, _verdicts(store, judged if every else judged[-_JUDGED:]), instead=instead)
        terminal_tables.render_damaged(store.damaged())


def _verdicts(store: Store, runs: Sequence[Run]) -> dict[str, RunVerdict]:
    """By the run's id; without runs that are under way, and those that cannot be judged: `judge` says why."""
    verdicts = {}
    for run in runs:
        if run.status != "running" and not is_search(run):  # of one without an answer, `judge` says so
            with suppress(StreamgaugeError):
                verdicts[run.id] = judge(store, run.id).verdict
    return verdicts


def _answers(store: Store, runs: Sequence[Run]) -> dict[str, str]:
    """Of the searches for a capacity, by the run's id."""
    answers = {}
    for run in runs:
        with suppress(StreamgaugeError):  # `judge` says what is wrong
            if (found := found_in(store, run.id)) is not None:
                answers[run.id] = outputs.brief(found)
    return answers
