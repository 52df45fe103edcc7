"""The process that serves the monitor's pages and sends metrics to a collector. `streamgauge monitor` starts it."""

import os
import socket
import sys
import threading
from functools import partial
from pathlib import Path

import uvicorn

from streamgauge.harness.config.schema import Config
from streamgauge.harness.config.secrets import Variables
from streamgauge.harness.errors import StoreError, TargetError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.store.monitored import MonitorStore
from streamgauge.harness.monitor import process
from streamgauge.harness.monitor.address import TOKEN, Address, parse
from streamgauge.harness.monitor.exposition.otlp import Otlp
from streamgauge.harness.monitor.exposition.page import Page
from streamgauge.harness.monitor.exposition.probes import NewProbes
from streamgauge.harness.monitor.levels import labels_of
from streamgauge.harness.monitor.process import say
from streamgauge.harness.monitor.status import Reader, Status
from streamgauge.harness.monitor.web.app import Served, app
from streamgauge.harness.monitor.web.connection import Connection
from streamgauge.harness.unexpected import sentence
from streamgauge.reports import status_page
from streamgauge.reports.html import finished

_BACKLOG = 64  # connections that are accepted in one turn of the loop
_EXPORTED_EVERY = 15.0  # seconds


def main(config_path: str, db: str, address: str = "") -> Exit:
    """`address` "": nothing is served."""
    return process.run(config_path, partial(_serve, db=db, address=address))


def _serve(config: Config, db: str, address: str) -> None:
    targets = {target.name: labels_of(target) for target in config.monitor.target}
    stop = threading.Event()
    exporting = None
    if config.monitor.otlp is not None:
        endpoint = Variables(os.environ).fill("monitor.otlp", config.monitor.otlp)
        otlp = Otlp(endpoint, _EXPORTED_EVERY, targets, say)
        exporting = threading.Thread(target=_export, args=(otlp, db, targets, stop), daemon=True)
        exporting.start()
    try:
        if address:
            token = os.environ.get(TOKEN)
            _listen(config, db, targets, parse(address, token), token)
        else:
            stop.wait()
    finally:
        stop.set()
        if exporting is not None:
            exporting.join(15.0)


def _page(status: Status) -> str:
    return finished(status_page.render(status))


def _listen(config: Config, db: str, targets: dict[str, dict[str, str]], address: Address, token: str | None) -> None:
    """Until a signal."""
    with MonitorStore.open(db) as store, MonitorStore.open(db) as for_page, _bound(address) as listening:
        reader = Reader(store)
        status_page.render(reader.read())  # reads the days that are over, so that the first visitor need not wait
        served = Served(reader, Page(for_page, targets), _page, config.monitor.every / 1e9, token)
        settings = uvicorn.Config(
            app(served), http=Connection, ws="none", log_level="error", access_log=False, server_header=False,
            backlog=_BACKLOG, timeout_keep_alive=5, timeout_graceful_shutdown=1, lifespan="off",
        )  # fmt: skip
        uvicorn.Server(settings).run([listening])


def _bound(address: Address) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return socket.create_server((address.host, address.port), family=family)
    except OSError as fault:
        raise TargetError(f"--http {address.host}:{address.port}: cannot listen there: {fault.strerror}") from None


def _export(otlp: Otlp, db: str, targets: dict[str, dict[str, str]], stop: threading.Event) -> None:
    with MonitorStore.open(Path(db)) as store:
        new, said, ended = NewProbes(store, targets), "", False
        while not ended:
            ended = stop.wait(_EXPORTED_EVERY / 3)
            fault = _take(otlp, new)
            if fault and fault != said:
                say(fault)
            said = fault
    otlp.close()


def _take(otlp: Otlp, new: NewProbes) -> str:
    """What went wrong; "" if nothing did."""
    try:
        for probes in new.read():
            otlp.take(probes)
    except StoreError as fault:
        return str(fault)
    except Exception as fault:  # noqa: BLE001 - a mistake must not end the thread: the collector would get nothing more
        return f"metrics are not exported: unexpected error: {sentence(fault)}"
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
