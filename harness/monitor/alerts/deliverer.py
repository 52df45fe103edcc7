"""Delivers the queue: a thread for each receiver, so that a dead one delays no other.

At least once: an attempt that a kill or a timeout cut short is made again, with the same id. Receivers that know ids
(webhook, PagerDuty, Alertmanager) ignore the repetition; to people it says that it may be one.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from streamgauge.harness.config.alerts import AnyReceiver
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.counting import some
from streamgauge.harness.errors import StoreError
from streamgauge.harness.judge.store.connection import as_store_errors, connect, transaction
from streamgauge.harness.monitor.alerts.outbox import prepare
from streamgauge.harness.monitor.alerts.queue import GIVEN_UP_AFTER, Due, Queue, Unreadable
from streamgauge.harness.monitor.alerts.receivers import RECEIVERS
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt, Failed, Refused
from streamgauge.harness.unexpected import sentence

_LOOK_EVERY = 1.0  # seconds: another process may have put an alert
_AFTER_STORE_ERROR = 5.0

Clock = Callable[[], float]
Tell = Callable[[str], None]


class Deliverer:
    """The threads. `tell` is called from them with a line about each failure, and never with a secret."""

    def __init__(self, path: Path, filled: Filled, tell: Tell) -> None:
        self._stopping = threading.Event()
        self._woken = [threading.Event() for _ in filled.receivers]
        self._threads = [
            threading.Thread(
                target=self._deliver,
                args=(path, Delivery(table, filled.redaction, tell, time.time), woken),
                name=f"alerts to {table.called}",
                daemon=True,
            )
            for table, woken in zip(filled.receivers, self._woken, strict=True)
        ]
        self._path = path

    def start(self) -> None:
        """Creates the tables of the queue if they are missing. StoreError if the database cannot be written."""
        with as_store_errors(self._path):
            database = connect(self._path, "rw")
            try:
                with transaction(database):
                    prepare(database.conn)
            finally:
                database.close()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look now: an alert has been put and committed."""
        for woken in self._woken:
            woken.set()

    def stop(self, seconds: float) -> None:
        """End after the attempts that are going on, but wait no longer than this. What is not sent stays queued."""
        self._stopping.set()
        self.wake()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _deliver(self, path: Path, delivery: "Delivery", woken: threading.Event) -> None:
        while not self._stopping.is_set():
            try:
                with closing(delivery.queue(path)) as queue:
                    self._send_all(delivery, queue, woken)
            except StoreError as fault:
                delivery.tell_fault(str(fault))
            except Exception as fault:  # noqa: BLE001 - a mistake must not end the thread: nobody would be told any more
                delivery.tell_fault(f"unexpected error: {sentence(fault)}")
            self._stopping.wait(_AFTER_STORE_ERROR)

    def _send_all(self, delivery: "Delivery", queue: Queue, woken: threading.Event) -> None:
        while not self._stopping.is_set():
            if not delivery.step(queue):
                woken.wait(_LOOK_EVERY)
                woken.clear()


class Delivery:
    """What is done for one receiver, step by step."""

    def __init__(self, table: AnyReceiver, redaction: Redaction, tell: Tell, clock: Clock) -> None:
        self._table = table
        self._redaction = redaction
        self._tell = tell
        self._clock = clock
        self._fails = False  # so that each outage is told once
        self._fault = ""  # of the queue itself, which was told last

    def queue(self, path: Path) -> Queue:
        every = self._table.repeated_every
        return Queue(path, self._table.called, None if every is None else every / 1e9)

    def step(self, queue: Queue) -> bool:
        """Send what is due, if anything; False if nothing is. StoreError if the database cannot be written."""
        now = self._clock()
        if given_up := queue.give_up_old(now):
            hours = f"{GIVEN_UP_AFTER / 3600:.0f} hours"
            self.tell(f"{some(given_up, 'alert')} could not be delivered within {hours}: given up")
        if queue.is_paused(now):
            return False
        due = queue.next(now)
        if due is None:
            return False
        if isinstance(due, Unreadable):
            queue.give_up(due.number, due.fault)
            self.tell(f"{due.fault}: it is given up")
            return True
        queue.begin(due, now)
        try:
            note = attempt(self._table, self._redaction, Attempt(due.alert, now, due.may_be_repeated))
        except Refused as fault:
            queue.give_up(due.number, str(fault))
            self.tell(f"refused the alert {due.alert.key}: {fault}")
        except Failed as fault:
            self._failed(queue, due, fault)
        else:
            queue.delivered(due, self._clock(), note)
            self._fault = ""
            if self._fails:
                self.tell("answers again")
            self._fails = False
        return True

    def _failed(self, queue: Queue, due: Due, fault: Failed) -> None:
        now = self._clock()
        until = queue.failed(due, fault, now, RECEIVERS[self._table.kind].first_pause)
        if not self._fails:
            self.tell(f"{fault}; the alert {due.alert.key} waits, and is sent again in {until - now:.0f} s")
        self._fails = True

    def tell_fault(self, fault: str) -> None:
        """Once: with a full disk, it is the same every few seconds."""
        if fault != self._fault:
            self.tell(fault)
        self._fault = fault

    def tell(self, line: str) -> None:
        self._tell(f"alerts to {self._table.called}: {line}")


def attempt(table: AnyReceiver, redaction: Redaction, this: Attempt) -> str | None:
    """Send one alert to one receiver. Refused or Failed, with a message that holds no secret."""
    try:
        return RECEIVERS[table.kind].send(table, this)
    except Refused as fault:
        raise Refused(redaction.blotted(str(fault))) from None
    except Failed as fault:
        raise Failed(
            redaction.blotted(str(fault)), may_have_arrived=fault.may_have_arrived, pause=fault.pause
        ) from None
    except Exception as fault:  # noqa: BLE001 - a mistake in one receiver must not end its thread
        raise Failed(redaction.blotted(f"unexpected error: {sentence(fault)}"), may_have_arrived=True) from None
