"""`streamgauge monitor`: probes endpoints day and night, and tells when a service level is at risk."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.config.load import load
from streamgauge.harness.config.receivers import filled
from streamgauge.harness.config.secrets import Variables
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.outputs import kinds
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.judge.wording import harmless
from streamgauge.harness.monitor import plan
from streamgauge.harness.monitor.levels import levels
from streamgauge.harness.monitor.processes import parts
from streamgauge.harness.monitor.service import Service

_DEFAULT = "./streamgauge.toml"


@click.command(name="monitor")
@click_options.config_for("What to probe, the service levels, and whom to tell.", default=_DEFAULT)
@click.option("--db", metavar="FILE", default="monitor.db", show_default=True, help="The monitor's SQLite file.")
@click.pass_context
def command(ctx: click.Context, /, config: str | None, db: str) -> None:
    """Probe endpoints day and night, and alert when a service level is at risk.

    The config's [monitor] and [[monitor.target]] say what is asked, [[slo]] what must hold, and [[alert]] who is told.
    It goes on until Ctrl-C or SIGTERM; started again with the same --db, it goes on where it was.
    """
    path = config or _DEFAULT
    given = load(path)
    watched = levels(given)
    filled(given.alert)
    if given.monitor.heartbeat is not None:
        Variables(os.environ).fill("monitor.heartbeat", given.monitor.heartbeat)
    kinds.check_place(db)
    started = parts(given, path, db)
    with MonitorStore.create(db):
        pass
    for line in plan.lines(given, watched):
        click.echo(harmless(line))
    sys.stdout.flush()
    with _alone(db):
        ctx.exit(Service(started, given.monitor.every / 1e9, _say).run())


@contextmanager
def _alone(db: str) -> Iterator[None]:
    """StoreError if another monitor writes to the database."""
    # A lock of another kind than SQLite's. Its descriptor stays open to the end: closing it would drop SQLite's locks.
    with Path(db).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(f"{db}: another monitor is writing to it; end that one, or give another --db") from None
        yield


def _say(line: str) -> None:
    sys.stderr.write(f"streamgauge: {harmless(line)}\n")
