"""`streamgauge monitor`: probes endpoints day and night, and tells when a service level is at risk."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.config.load import load
from streamgauge.harness.config.schema import Config
from streamgauge.harness.config.secrets import Variables
from streamgauge.harness.config.urls import is_url
from streamgauge.harness.errors import ConfigError, StoreError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import kinds, lines
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor import address, plan
from streamgauge.harness.monitor.alerts import at_once
from streamgauge.harness.monitor.exposition import written
from streamgauge.harness.monitor.levels import levels
from streamgauge.harness.monitor.process import say
from streamgauge.harness.monitor.processes import parts
from streamgauge.harness.monitor.service import Service

_DEFAULT = "./streamgauge.toml"


@click.command(name="monitor")
@click_options.config_for("What to probe, the service levels, and whom to tell.", default=_DEFAULT)
@click.option("--db", metavar="FILE", default="monitor.db", show_default=True, help="The monitor's SQLite file.")
@click.option(
    "--http",
    metavar="[HOST]:PORT",
    help="Serve the status page, /metrics for Prometheus and /healthz, as in :9464; for other machines only if "
    f"{address.TOKEN} is set.",
)
@click.option("--test-alert", is_flag=True, help="Send a test message to each receiver of the config, and end.")
@click.option(
    "--write-rules",
    metavar="FOLDER",
    help="Write Prometheus rules, Sloth and OpenSLO documents and a Grafana dashboard to this folder, and end.",
)
@click.pass_context
def command(ctx: click.Context, /, config: str | None, db: str, http: str | None, **instead: Any) -> None:
    """Probe endpoints day and night, and alert when a service level is at risk.

    The config's [monitor] and [[monitor.target]] say what is asked, [[slo]] what must hold, and [[alert]] who is told.
    It goes on until Ctrl-C, SIGTERM or the closing of its terminal; started again with the same --db, it goes on where
    it was.
    """
    path = config or _DEFAULT
    given = load(path)
    if instead["test_alert"]:
        ctx.exit(_test(given))
    watched = levels(given)
    if instead["write_rules"]:
        lines.show(*(f"{path}: written" for path in written.write(instead["write_rules"], watched)))
        return
    if given.alert:
        at_once.ready(given.alert)
    for key in ("heartbeat", "otlp"):
        _check_url(f"monitor.{key}", getattr(given.monitor, key))
    kinds.check_place(db)
    started = parts(given, path, db, http)
    with MonitorStore.create(db):
        pass
    with _alone(db):
        lines.show(*plan.lines(given, watched))
        if http is not None:
            lines.show(f"status page: {address.parse(http, os.environ.get(address.TOKEN)).url}")
        ctx.exit(Service(started, given.monitor.every / 1e9, say).run())


def _test(config: Config) -> Exit:
    """MISSED if a receiver did not take the message."""
    code = Exit.MET
    for sent in at_once.send_test(at_once.ready(config.alert)):
        if sent.fault is None:
            lines.show(f"{sent.receiver}: took the test message" + (f" ({sent.note})" if sent.note else ""))
        else:
            code = Exit.MISSED
            lines.show(f"{sent.receiver}: did not take it: {sent.fault}")
    return code


def _check_url(place: str, written: str | None) -> None:
    """ConfigError for a variable that is missing or holds no URL; it never quotes the value."""
    if written is not None and not is_url(Variables(os.environ).fill(place, written)):
        raise ConfigError(f"{place}: {written!r} is no URL: write https://host/path")


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
