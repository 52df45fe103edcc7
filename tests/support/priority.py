"""Workers of `pytest -n` compute with a lower priority than runs and servers; so would the processes that they start.

Linux gives each thread a priority of its own, and a new process that of the thread which starts it. So a thread that
keeps the ordinary priority starts the processes whose times and verdicts a test is about.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")

_ordinary: ThreadPoolExecutor | None = None  # of one thread; None: this process has the ordinary priority itself


def lower() -> None:
    """Let this process compute when others do not."""
    global _ordinary  # noqa: PLW0603 - so is the priority
    _ordinary = ThreadPoolExecutor(1)
    _ordinary.submit(os.getpid).result()  # begins its thread, before the priority changes
    os.nice(10)


def ordinary(call: Callable[[], _Result]) -> _Result:
    """Call it with the ordinary priority, or with that of `busy.first`, which processes that it starts keep."""
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        return call()
    return _ordinary.submit(call).result() if _ordinary is not None else call()
