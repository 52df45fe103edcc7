"""What a scenario's own code raises in a run: one line with its file and line, in Locust's log and as the run's reason.

Locust logs a traceback each time, and keeps only the exception's words: of a KeyError, no more than `'k'`.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from streamgauge.harness.unexpected import DEBUG, of_user

if TYPE_CHECKING:
    from locust.env import Environment

# Locust's own, for tasks and for on_start, and ours.
_LOGGERS = ("locust.user.task", "locust.user.users", "locust.streamgauge")
_HOUR, _MOST_LOGGED = 3_600, 5  # seconds; lines in them


class Raised(Exception):
    """In place of an exception of the scenario's: its place, type and words, without secrets."""


def line(fault: BaseException, environment: "Environment") -> str:
    """`mine.py:7: KeyError: 'k'`."""
    return of_user(fault, (environment.parsed_locustfiles or ["scenario"])[0])


def shorten_log(environment: "Environment") -> None:
    """From now on, in this process."""
    shorter = InOneLine(lambda fault: line(fault, environment))
    for logger in map(logging.getLogger, _LOGGERS):
        if not any(isinstance(each, InOneLine) for each in logger.filters):
            logger.addFilter(shorter)


class InOneLine(logging.Filter):
    """Logs an exception as one line, each line once an hour and few lines in all: a task may raise a thousand times."""

    def __init__(self, shown: Callable[[BaseException], str], now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._shown, self._now = shown, now
        self._passed = deque[tuple[float, str]]()

    def filter(self, record: logging.LogRecord) -> bool:
        fault = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if not isinstance(fault, BaseException):
            return True
        now, shown = self._now(), self._shown(fault)
        while self._passed and now - self._passed[0][0] >= _HOUR:
            self._passed.popleft()
        if len(self._passed) == _MOST_LOGGED or any(shown == before for _, before in self._passed):
            return False
        self._passed.append((now, shown))
        if not os.environ.get(DEBUG):
            record.msg, record.args = "%s", (shown,)
        return True
