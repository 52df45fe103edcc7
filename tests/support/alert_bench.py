"""A database with the queue of alerts, and a clock that is set by hand."""

import time
from contextlib import closing
from pathlib import Path
from typing import Any

from streamgauge.harness.config.alerts import AnyReceiver
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.store.connection import connect, transaction
from streamgauge.harness.monitor.alerts.deliverer import Deliverer, Delivery
from streamgauge.harness.monitor.alerts.message import Alert
from streamgauge.harness.monitor.alerts.outbox import Outbox, prepare

SECRET = "geheimnis-123456"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "monitor.db"
        Store.create(self.path).close()
        self.database = connect(self.path, "rw")
        with transaction(self.database):
            prepare(self.database.conn)
        self.now = 1_700_000_300.0
        self.said: list[str] = []

    def put(self, receivers: list[AnyReceiver], *alerts: Alert) -> None:
        with transaction(self.database):
            for alert in alerts:
                Outbox(self.database.conn, receivers, lambda: self.now).put(alert, alert.since)

    def deliver(self, receiver: AnyReceiver) -> int:
        """Take every step that is due now, as after a restart; returns how many there were."""
        delivery = Delivery(receiver, Redaction([SECRET]), self.said.append, lambda: self.now)
        with closing(delivery.queue(self.path)) as queue:
            steps = 0
            while delivery.step(queue):
                steps += 1
        return steps

    def states(self) -> list[tuple[str, str, str, Any]]:
        found = self.database.execute(
            "SELECT key, status, state, fault FROM deliveries JOIN alerts ON alert = id ORDER BY id"
        )
        return list(found)

    def deliverer(self, *receivers: AnyReceiver) -> Deliverer:
        """It has the real clock."""
        self.now = time.time()
        return Deliverer(self.path, Filled(receivers, Redaction([])), self.said.append)
