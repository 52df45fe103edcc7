"""What a scenario raises, in Locust's log: one line with its place, and not a thousand times."""

import logging
from collections.abc import Iterator

import pytest

from streamgauge.harness.run.raised import InOneLine
from streamgauge.harness.unexpected import DEBUG


def _logged(faults: Iterator[BaseException], every: int) -> list[str]:
    """The lines that pass when each fault is logged as Locust does, `every` so many seconds."""
    times = iter(range(0, 10**9, every))
    shorter = InOneLine(str, lambda: next(times))
    records = [
        logging.LogRecord("locust", logging.ERROR, "", 0, "%s\n%s", (fault, "Traceback"), None) for fault in faults
    ]
    return [record.getMessage() for record in records if shorter.filter(record)]


def test_one_that_is_raised_at_each_probe_is_logged_once_an_hour() -> None:
    assert _logged((ValueError("it") for _ in range(180)), every=60) == ["it", "it", "it"]


def test_different_ones_do_not_fill_the_log_either() -> None:
    assert len(_logged((ValueError(number) for number in range(120)), every=60)) == 10


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "1")
    assert _logged(iter([ValueError("it")]), every=60) == ["it\nTraceback"]


def test_other_records_pass() -> None:
    shorter = InOneLine(str)
    record = logging.makeLogRecord({"msg": "3 users", "args": ()})
    assert all(shorter.filter(record) for _ in range(10))
