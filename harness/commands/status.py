"""`streamgauge status`: the status page of a monitor as a file."""

import click

from streamgauge.harness.judge.outputs import kinds, lines, save
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor.status import Reader
from streamgauge.reports import status_page
from streamgauge.reports.html import finished


@click.command(name="status")
@click.argument("db")
@click.option("-o", "--output", metavar="FILE", required=True, help="Write the page to this file, such as status.html.")
def command(db: str, output: str) -> None:
    """Write the status page of a monitor's database.

    Service levels with their error budgets, TTFT by day, and the incidents of the last 30 days with the streams behind
    them, as `streamgauge monitor --http` serves it. DB may be the database of a monitor that goes on, or one of several
    that `streamgauge merge` has joined.

    \b
        streamgauge status monitor.db -o site/status.html
    """
    kinds.check_place(output)
    with MonitorStore.open(db) as store:
        status = Reader(store).read()
    for sentence in status.damaged:
        lines.warn(f"streamgauge: {sentence}")
    save(finished(status_page.render(status)), output)
    lines.show(f"{output}: written")
