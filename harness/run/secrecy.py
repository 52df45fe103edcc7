"""Secrets in what a scenario's own code raises or logs: blotted out before Locust shows, counts or sends it."""

import logging
import os
from typing import Any

from locust.env import Environment
from locust.event import EventHook

from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.run.port import TOKEN
from streamgauge.harness.run.raised import Raised, line, shorten_log

_LOGGERS = ("", "locust", "locust.stats_logger")  # those to which Locust gives handlers of its own


def protect(environment: Environment, redaction: Redaction) -> None:
    """From now on, in this process, and the secret of the master's port, too. Replaces what an earlier run has set."""
    redaction = redaction.also([os.environ.get(TOKEN, "")])
    hook = environment.events.user_error

    def fire(*, exception: BaseException, **arguments: Any) -> None:
        EventHook.fire(hook, exception=Raised(redaction.blotted(line(exception, environment))), **arguments)

    shorten_log(environment)
    hook.fire = fire  # no listener of ours could come before Locust's own
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.filters = [each for each in handler.filters if not isinstance(each, _Filter)]
            handler.addFilter(_Filter(redaction))


class _Filter(logging.Filter):
    def __init__(self, redaction: Redaction) -> None:
        super().__init__()
        self._redaction = redaction

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        shown = self._redaction.blotted(text)
        if shown != text:
            record.msg, record.args = shown, ()
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text = self._redaction.blotted(text)
        return True
