"""The Retry-After header of a refusal: seconds or a date, and nothing that a server sends there makes a record fail."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.drive.reading.transcript import retry_after
from streamgauge.harness.record.observation import MOST_RETRY_AFTER

SECOND = 10**9


@pytest.mark.parametrize(
    ("header", "waits"),
    [
        (None, None),
        ("5", 5 * SECOND),
        (" 0.4 ", 4 * SECOND // 10),
        ("0", 0),
        ("1e300", MOST_RETRY_AFTER),
        ("999999999999999999999", MOST_RETRY_AFTER),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0),
        *((text, None) for text in ("", "soon", "-5", "nan", "inf", "5 s", "²", "Wed, 99 Oct 2015 07:28:00 GMT")),
    ],
)
def test_a_header_is_a_wait_in_seconds_or_until_a_date(header: str | None, waits: int | None) -> None:
    assert retry_after(header) == waits


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_a_date_that_is_to_come_is_a_wait_until_then(zone: str) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True).replace("GMT", zone)
    wait = retry_after(date)
    assert wait is not None
    assert 3_000 * SECOND < wait <= 3_600 * SECOND


@given(st.text(max_size=300))
def test_no_header_makes_a_record_fail(header: str) -> None:
    wait = retry_after(header)
    assert wait is None or 0 <= wait <= MOST_RETRY_AFTER
