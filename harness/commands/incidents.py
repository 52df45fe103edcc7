"""`streamgauge incidents`: the incidents of a monitor's database."""

import time

import click

from streamgauge.harness.commands.numbers import WholeNumber
from streamgauge.harness.judge.outputs import lines
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor import incidents, listing

_SHOWN = 50


@click.command(name="incidents")
@click.argument("db")
@click.option("--last", type=WholeNumber(1, 10_000), default=_SHOWN, show_default=True, help="So many, the newest.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document with all that is known of them.")
def command(db: str, last: int, as_json: bool) -> None:
    """List the incidents of a monitor's database, the newest first, each with its worst streams.

    `streamgauge report DB --run RUN` draws the streams of a run that is listed.
    """
    with MonitorStore.open(db) as store, store.reading() as connection:
        found = incidents.newest(connection, last)
    for sentence in found.damaged:
        lines.warn(f"streamgauge: {sentence}")
    if as_json:
        lines.document(f"{listing.document(found.incidents)}\n")
    else:
        listing.render(found.incidents, time.time())
