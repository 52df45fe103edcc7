"""`streamgauge runs`: lists the runs of a database."""

import click

from streamgauge.harness.judge.outputs import terminal_tables
from streamgauge.harness.judge.store import Store


@click.command(name="runs")
@click.argument("db")
def command(db: str) -> None:
    """List the runs of a database, oldest first."""
    with Store.open(db) as store:
        terminal_tables.render_runs(store.runs())
        terminal_tables.render_damaged(store.damaged())
