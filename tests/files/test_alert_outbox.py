"""The queue of alerts."""

import sqlite3
from collections.abc import Iterator

import pytest

from streamgauge.harness.monitor.alerts.message import Alert, decoded, encoded
from streamgauge.harness.monitor.alerts.outbox import Outbox, prepare
from tests.support.alerts import firing, resolved


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(":memory:")
    prepare(opened)
    yield opened
    opened.close()


def queued(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    found = connection.execute(
        "SELECT key, status, receiver FROM deliveries JOIN alerts ON alert = id ORDER BY id, receiver"
    )
    return found.fetchall()


def test_an_alert_is_queued_once_for_each_receiver(connection: sqlite3.Connection) -> None:
    outbox = Outbox(connection, ["chat", "pager"])
    assert outbox.put(firing("a"), now=1.0)
    assert not outbox.put(firing("a", budget_left=0.1), now=2.0)
    assert outbox.put(resolved("a"), now=3.0)
    assert queued(connection) == [
        ("a", "firing", "chat"), ("a", "firing", "pager"), ("a", "resolved", "chat"), ("a", "resolved", "pager"),
    ]  # fmt: skip


def test_an_alert_of_a_transaction_that_failed_is_not_queued(connection: sqlite3.Connection) -> None:
    outbox = Outbox(connection, ["chat"])
    assert outbox.put(firing("a"), now=1.0)
    connection.rollback()
    assert queued(connection) == []
    assert outbox.put(firing("a"), now=2.0)


def test_an_alert_is_the_same_after_it_was_stored() -> None:
    alert = firing("a", evidence={"bad": 7, "worst": {"stream": 12, "ttft_ms": 5103.5}})
    assert decoded(encoded(alert)) == alert


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "ü", "k" * 201])
def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="no alert's key"):
        firing(key)


def test_an_alert_that_is_too_large_or_has_the_wrong_end_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than"):
        firing("a", evidence={"text": "x" * 20_000})
    with pytest.raises(ValueError, match="ended at None"):
        Alert(
            key="a", status="resolved", slo="s", severity="page", target="t", since=0.0, until=None, budget_left=1.0,
            evidence={}, summary="", link=None,
        )  # fmt: skip
