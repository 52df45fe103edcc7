"""A limit for calls of libraries that limit each of their steps, and not all of them together."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from streamgauge.harness.monitor.alerts.receivers.attempt import Failed

T = TypeVar("T")


def within(seconds: float, name: str, call: Callable[[], T]) -> T:
    """What the call returns or raises. Failed after this time: it then goes on in its thread, with nobody waiting.

    Failed, too, while an earlier call of this name goes on: threads would pile up.
    """
    if any(thread.name == name for thread in threading.enumerate()):
        raise Failed("the attempt before this one still goes on: the server neither answers nor hangs up")
    ended: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()

    def run() -> None:
        try:
            result = call()
        except BaseException as fault:  # noqa: BLE001 - raised again, in the caller's thread
            raised = fault

            def again() -> T:
                raise raised

            ended.put(again)
        else:
            ended.put(lambda: result)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        outcome = ended.get(timeout=seconds)
    except queue.Empty:
        raise Failed(f"no answer within {seconds:g} s", may_have_arrived=True) from None
    thread.join()  # it has nothing left to do: the next call must not find it still there
    return outcome()
