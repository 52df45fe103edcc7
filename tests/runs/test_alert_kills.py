"""kill -9 of the process that delivers alerts, at random moments: nothing is lost, and a repetition has the same id.

`make kills` kills ten times instead of three.
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamgauge.harness.config.alerts import Webhook
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.store.connection import connect, transaction
from streamgauge.harness.monitor.alerts.outbox import Outbox, prepare
from tests.support.alert_servers import Receiver, http_receiver
from tests.support.alerts import firing, resolved
from tests.support.command import PATIENCE

_KILLS = max(3, int(os.environ.get("STREAMGAUGE_KILLS", "3").partition(":")[0]) // 3)
_INCIDENTS = 20 * _KILLS
_DELIVER = """
import sys, threading
from pathlib import Path
from typing import Any
from streamgauge.harness.config.alerts import Webhook
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.monitor.alerts.deliverer import Deliverer
Deliverer(Path(sys.argv[1]), Filled((Webhook(url=sys.argv[2]),), Redaction([])), print).start()
print("started", flush=True)
threading.Event().wait()
"""


def test_a_killed_deliverer_loses_no_alert_and_repeats_only_what_was_under_way(tmp_path: Path) -> None:
    path = tmp_path / "monitor.db"
    Store.create(path).close()
    database = connect(path, "rw")
    seed = random.randrange(1_000_000)
    moments = random.Random(seed)
    with http_receiver() as receiver:
        _put_all(database, Webhook(url=receiver.url, timeout=Duration.parse("10s")))
        for _ in range(_KILLS):
            with _deliverer(path, receiver) as process:
                receiver.wait_for(min(len(receiver.got) + moments.randrange(1, 20), 2 * _INCIDENTS))
                time.sleep(moments.random() * 0.01)  # anywhere within an attempt
                process.kill()
        with _deliverer(path, receiver) as process:
            _wait_until_delivered(database)
            process.kill()
    database.close()
    sent = Counter(got.headers["idempotency-key"] for got in receiver.got)
    wanted = {f"k{number}.{status}" for number in range(_INCIDENTS) for status in ("firing", "resolved")}
    assert sent.keys() == wanted, f"seed {seed}"
    repeated = sum(sent.values()) - len(sent)
    assert repeated <= _KILLS, f"seed {seed}: a kill can repeat one attempt, and no more"
    marked = [got for got in receiver.got if got.document["may_be_repeated"]]
    assert len(marked) >= repeated, f"seed {seed}"
    firsts = {got.headers["idempotency-key"]: place for place, got in reversed(list(enumerate(receiver.got)))}
    assert all(firsts[f"k{number}.firing"] < firsts[f"k{number}.resolved"] for number in range(_INCIDENTS))


def _put_all(database: Any, table: Webhook) -> None:
    with transaction(database):
        prepare(database.conn)
        for number in range(_INCIDENTS):
            Outbox(database.conn, [table]).put(firing(f"k{number}"), time.time())
            Outbox(database.conn, [table]).put(resolved(f"k{number}"), time.time())


@contextmanager
def _deliverer(path: Path, receiver: Receiver) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", _DELIVER, str(path), receiver.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield process


def _wait_until_delivered(database: Any) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        (waiting,) = database.execute("SELECT count(*) FROM deliveries WHERE state = 'waiting'").fetchone()
        if not waiting:
            return
        time.sleep(0.05)
    raise AssertionError(f"{waiting} alerts were not delivered")
