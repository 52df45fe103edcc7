"""The queue of alerts."""

import sqlite3
from collections.abc import Iterator

import pytest

from streamgauge.harness.config.alerts import Command, Slack
from streamgauge.harness.monitor.alerts.message import Alert, decoded, encoded
from streamgauge.harness.monitor.alerts.outbox import KEPT, MOST_WAITING, Outbox, prepare
from tests.support.alerts import firing, resolved

CHAT = Command(name="chat", command=["true"])
PAGER = Command(name="pager", command=["true"], severity="page")


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
    outbox = Outbox(connection, [CHAT, PAGER], lambda: 0.0)
    assert outbox.put(firing("a"), happened=1.0)
    assert not outbox.put(firing("a", budget_left=0.1), happened=2.0)
    assert outbox.put(resolved("a"), happened=3.0)
    assert queued(connection) == [
        ("a", "firing", "chat"), ("a", "firing", "pager"), ("a", "resolved", "chat"), ("a", "resolved", "pager"),
    ]  # fmt: skip


def test_an_alert_of_a_transaction_that_failed_is_not_queued(connection: sqlite3.Connection) -> None:
    outbox = Outbox(connection, [CHAT], lambda: 0.0)
    assert outbox.put(firing("a"), happened=1.0)
    connection.rollback()
    assert queued(connection) == []
    assert outbox.put(firing("a"), happened=2.0)


def test_an_alert_is_queued_for_the_receivers_of_its_severity(connection: sqlite3.Connection) -> None:
    Outbox(connection, [CHAT, PAGER], lambda: 0.0).put(firing("a", severity="ticket"), happened=1.0)
    assert queued(connection) == [("a", "firing", "chat")]


def test_people_who_have_a_page_get_no_ticket_beside_it_and_programs_get_all(connection: sqlite3.Connection) -> None:
    people, tickets = Slack(name="people", url=""), Slack(name="tickets", url="", severity="ticket")
    outbox = Outbox(connection, [people, tickets, CHAT], lambda: 0.0)
    for alert in (
        firing("p1"), firing("t1", severity="ticket", beside="page"),  # a page, and a ticket that outlives it
        resolved("p1", beside="ticket"), resolved("t1", severity="ticket"),
        firing("t2", severity="ticket"), firing("p2", beside="ticket"),  # it gets worse, and both end
        resolved("t2", severity="ticket", beside="page"), resolved("p2"),
        firing("p3"), firing("t3", severity="ticket", beside="page"),  # the ticket is over first
        resolved("t3", severity="ticket", beside="page"), resolved("p3"),
    ):  # fmt: skip
        outbox.put(alert, happened=1.0)
    told: dict[str, list[str]] = {}
    for key, status, receiver in queued(connection):
        told.setdefault(receiver, []).append(f"{key} {status}")
    assert told["people"] == [
        "p1 firing", "p1 resolved", "t1 resolved",
        "t2 firing", "p2 firing", "t2 resolved", "p2 resolved",
        "p3 firing", "p3 resolved",
    ]  # fmt: skip
    of_all = [each for each in told["chat"] if each.startswith("t")]
    assert (
        told["tickets"]
        == of_all
        == [f"t{number} {status}" for number in (1, 2, 3) for status in ("firing", "resolved")]
    )
    assert len(told["chat"]) == 12


def test_the_queue_of_a_dead_receiver_is_bounded(connection: sqlite3.Connection) -> None:
    said: list[str] = []
    outbox = Outbox(connection, [CHAT], lambda: 0.0, said.append)
    for number in range(MOST_WAITING + 5):
        outbox.put(firing(f"k{number}"), happened=float(number))
    given_up = connection.execute(
        "SELECT key, fault FROM deliveries JOIN alerts ON alert = id WHERE state = 'given_up'"
    )
    assert given_up.fetchall() == [(f"k{number}", "1,000 newer alerts were waiting") for number in range(5)]
    assert said == ["alerts to chat: more than 1,000 wait, so the oldest are given up"], "once"


def test_each_time_too_many_alerts_wait_is_told(connection: sqlite3.Connection) -> None:
    said: list[str] = []
    outbox = Outbox(connection, [CHAT], lambda: 0.0, said.append)
    for outage in (1, 2):
        for number in range(MOST_WAITING + 2):
            outbox.put(firing(f"k{outage}.{number}"), happened=float(number))
        assert said == ["alerts to chat: more than 1,000 wait, so the oldest are given up"] * outage
        connection.execute("UPDATE deliveries SET state = 'delivered' WHERE state = 'waiting'")  # it works again


def test_what_was_delivered_long_ago_is_forgotten_and_what_is_still_open_is_not(connection: sqlite3.Connection) -> None:
    outbox = Outbox(connection, [CHAT, PAGER], lambda: 0.0)
    outbox.put(firing("open"), happened=1.0)
    outbox.put(firing("closed"), happened=1.0)
    connection.execute("UPDATE deliveries SET state = 'delivered' WHERE alert = 2 OR receiver = 'pager'")
    outbox.put(firing("new"), happened=2.0 + KEPT)
    assert queued(connection) == [("open", "firing", "chat"), ("new", "firing", "chat"), ("new", "firing", "pager")]


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
