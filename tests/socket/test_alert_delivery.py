"""Alerts on their way: queue, receivers, back-off, repetition. The receivers are real servers on loopback."""

import time
from typing import Any

import pytest

from streamgauge.harness.config.alerts import (
    Alertmanager,
    AnyReceiver,
    PagerDuty,
    Slack,
    Webhook,
)
from streamgauge.harness.config.duration import Duration
from streamgauge.harness.monitor.alerts.queue import GIVEN_UP_AFTER
from tests.support.alert_bench import SECRET, Bench
from tests.support.alert_servers import Answer, Receiver, http_receiver
from tests.support.alerts import firing, resolved
from tests.support.command import PATIENCE

SOON = Duration.parse("1s")  # of receivers that do not answer


def webhook(receiver: Receiver, **other: Any) -> Webhook:
    return Webhook(url=f"{receiver.url}/hook", **{"timeout": Duration.parse("1m"), **other})


def ids(receiver: Receiver) -> list[str]:
    return [got.headers["idempotency-key"] for got in receiver.got]


def test_each_kind_of_http_receiver_gets_beginning_and_end_once(bench: Bench, receiver: Receiver) -> None:
    kinds: list[AnyReceiver] = [
        webhook(receiver, secret=SECRET, headers={"authorization": f"Bearer {SECRET}"}),
        Slack(url=f"{receiver.url}/services/T/B/x"),
        PagerDuty(routing_key="r" * 32, url=f"{receiver.url}/v2/enqueue"),
        Alertmanager(url=receiver.url),
    ]
    bench.put(kinds, firing("k1"), resolved("k1"))
    assert [bench.deliver(kind) for kind in kinds] == [2, 2, 2, 2]
    assert [bench.deliver(kind) for kind in kinds] == [0, 0, 0, 0], "nothing is repeated after a restart"
    assert [got.path for got in receiver.got] == [
        path for path in ("/hook", "/services/T/B/x", "/v2/enqueue", "/api/v2/alerts") for _ in range(2)
    ]
    signed = receiver.got[0].headers
    assert signed["authorization"] == f"Bearer {SECRET}"
    assert signed["webhook-id"] == signed["idempotency-key"] == "k1.firing"
    assert signed["webhook-signature"].startswith("v1,")
    assert receiver.got[0].document["status"] == "firing"
    assert [got.document["event_action"] for got in receiver.got[4:6]] == ["trigger", "resolve"]


def test_an_alert_that_was_put_twice_is_sent_once(bench: Bench, receiver: Receiver) -> None:
    hook = webhook(receiver)
    bench.put([hook], firing("k1"))
    bench.deliver(hook)
    bench.put([hook], firing("k1"))
    bench.deliver(hook)
    assert ids(receiver) == ["k1.firing"]


def test_a_failed_attempt_is_repeated_later_and_each_time_later(bench: Bench, receiver: Receiver) -> None:
    hook = webhook(receiver)
    receiver.answers.extend([Answer(503), Answer(500)])
    bench.put([hook], firing("k1"), firing("k2"))
    assert bench.deliver(hook) == 1, "the receiver fails: the other alert waits, too"
    bench.now += 4.9
    assert bench.deliver(hook) == 0
    bench.now += 0.2
    assert bench.deliver(hook) == 1
    assert ids(receiver) == ["k1.firing", "k2.firing"], "what has been tried less often goes first"
    bench.now += 9.9
    assert bench.deliver(hook) == 0
    bench.now += 0.2
    assert bench.deliver(hook) == 2
    assert {state for _, _, state, _ in bench.states()} == {"delivered"}


def test_the_end_of_an_incident_never_overtakes_its_beginning(bench: Bench, receiver: Receiver) -> None:
    hook = webhook(receiver)
    receiver.answers.append(Answer(503))
    bench.put([hook], firing("k1"), resolved("k1"), firing("k2"))
    bench.deliver(hook)
    bench.now += 6
    bench.deliver(hook)
    assert ids(receiver) == ["k1.firing", "k2.firing", "k1.firing", "k1.resolved"]


@pytest.mark.parametrize("retry_after", ["120", "Tue, 14 Nov 2023 22:20:20 GMT"])
def test_a_receiver_that_says_when_to_come_back_is_left_alone_until_then(
    bench: Bench, receiver: Receiver, retry_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: bench.now)
    hook = webhook(receiver)
    receiver.answers.append(Answer(429, {"Retry-After": retry_after}))
    bench.put([hook], firing("k1"))
    bench.deliver(hook)
    bench.now += 119
    assert bench.deliver(hook) == 0
    bench.now += 2
    assert bench.deliver(hook) == 1


@pytest.mark.parametrize("retry_after", ["nan", "-1", "soon", "1.2.3", "Mon, 01 Jan 0001 00:00:00 -0000"])
def test_a_retry_after_that_says_nothing_changes_nothing(bench: Bench, receiver: Receiver, retry_after: str) -> None:
    hook = webhook(receiver)
    receiver.answers.append(Answer(429, {"Retry-After": retry_after}))
    bench.put([hook], firing("k1"))
    bench.deliver(hook)
    bench.now += 5.1
    assert bench.deliver(hook) == 1


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b"ok", "delivered"),
        (b"", "delivered"),
        (b'{"success": true, "message": "' + b"x" * 500 + b'"}', "delivered"),
        (b'{"ok": false, "error": "not_authed"}', "waiting"),
        (b"<!doctype html><title>Sign in</title>", "waiting"),
        (b"\x00\xff garbage", "waiting"),
    ],
)
def test_a_200_of_somebody_else_is_no_delivery(bench: Bench, receiver: Receiver, body: bytes, state: str) -> None:
    receiver.usual = Answer(200, body=body)
    url = receiver.url
    kinds: list[AnyReceiver] = [Slack(url=url), PagerDuty(routing_key="r" * 32, url=url), Alertmanager(url=url)]
    bench.put(kinds, firing("k1"), resolved("k1"))
    for kind in kinds:
        bench.deliver(kind)
    assert {found for _, _, found, _ in bench.states()} == {state}


def test_a_damaged_alert_is_given_up_and_the_next_one_is_sent(bench: Bench, receiver: Receiver) -> None:
    hook = webhook(receiver)
    bench.put([hook], firing("k1"), firing("k2"))
    bench.database.execute("UPDATE alerts SET document = '{}' WHERE key = 'k1'")
    assert bench.deliver(hook) == 2
    assert ids(receiver) == ["k2.firing"]
    assert "alerts, row 1: damaged" in str(bench.said)


def test_pagerduty_is_left_alone_for_minutes_after_a_429(bench: Bench, receiver: Receiver) -> None:
    pager = PagerDuty(routing_key="r" * 32, url=receiver.url)
    receiver.answers.append(Answer(429))
    receiver.usual = Answer(202)
    bench.put([pager], firing("k1"))
    bench.deliver(pager)
    bench.now += 119
    assert bench.deliver(pager) == 0
    bench.now += 2
    assert bench.deliver(pager) == 1
    assert bench.states() == [("k1", "firing", "delivered", None)]


def test_what_is_refused_as_malformed_is_not_sent_again_and_the_next_alert_is(bench: Bench, receiver: Receiver) -> None:
    hook = webhook(receiver)
    receiver.answers.append(Answer(400, body=b"invalid_payload \x1b[2J " + SECRET.encode()))
    bench.put([hook], firing("k1"), firing("k2"))
    assert bench.deliver(hook) == 2
    (_, _, first, fault), (_, _, second, _) = bench.states()
    assert (first, second) == ("given_up", "delivered")
    assert "HTTP 400: invalid_payload" in fault
    assert SECRET not in str(bench.said) + fault
    assert "\x1b" not in str(bench.said) + fault


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(bench: Bench, receiver: Receiver, status: int) -> None:
    hook = webhook(receiver, headers={"authorization": SECRET})
    with http_receiver() as other:
        receiver.usual = Answer(status, {"Location": f"{other.url}/elsewhere"})
        bench.put([hook], firing("k1"))
        bench.deliver(hook)
        assert other.got == []
    assert "redirects are not followed" in str(bench.said)


def test_an_attempt_without_an_answer_is_repeated_and_marked_as_a_repetition(bench: Bench, receiver: Receiver) -> None:
    hook = webhook(receiver, timeout=SOON)
    receiver.answers.append(Answer(hangs=True))
    bench.put([hook], firing("k1"))
    bench.deliver(hook)
    receiver.wait_for(1)
    bench.now += 6
    bench.deliver(webhook(receiver))
    assert ids(receiver) == ["k1.firing", "k1.firing"]
    assert [got.document["may_be_repeated"] for got in receiver.got] == [False, True]


def test_an_attempt_that_was_refused_a_connection_is_no_repetition(bench: Bench, receiver: Receiver) -> None:
    nobody = Webhook(url="http://127.0.0.1:9/", name="webhook")
    bench.put([nobody], firing("k1"))
    bench.deliver(nobody)
    assert bench.states()[0][2:] == ("waiting", "not reached: All connection attempts failed")
    bench.now += 6
    bench.deliver(webhook(receiver))
    assert receiver.got[0].document["may_be_repeated"] is False


def test_an_alert_that_could_not_be_delivered_for_a_day_is_given_up(bench: Bench, receiver: Receiver) -> None:
    hook = webhook(receiver)
    receiver.usual = Answer(503)
    bench.put([hook], firing("k1"))
    bench.deliver(hook)
    bench.now += GIVEN_UP_AFTER + 1
    bench.said.clear()
    bench.deliver(hook)
    bench.deliver(hook)
    assert bench.states() == [("k1", "firing", "given_up", "not delivered within 24 hours: HTTP 503: ok")]
    assert bench.said == ["alerts to webhook: 1 alert could not be delivered within 24 hours: given up"]


def test_an_alert_that_is_put_long_after_it_happened_is_tried_for_a_day_all_the_same(
    bench: Bench, receiver: Receiver
) -> None:
    hook = webhook(receiver)
    bench.put([hook], firing("k1", since=bench.now - 3 * GIVEN_UP_AFTER))
    assert bench.deliver(hook) == 1
    assert bench.states() == [("k1", "firing", "delivered", None)]


def test_an_alertmanager_gets_a_firing_alert_again_until_it_is_resolved(bench: Bench, receiver: Receiver) -> None:
    manager = Alertmanager(url=receiver.url)
    bench.put([manager], firing("k1"))
    assert bench.deliver(manager) == 1
    bench.now += 59
    assert bench.deliver(manager) == 0
    bench.now += 2
    assert bench.deliver(manager) == 1
    bench.put([manager], resolved("k1"))
    bench.now += 60
    assert bench.deliver(manager) == 1
    bench.now += 600
    assert bench.deliver(manager) == 0
    ends = [got.document[0]["endsAt"] for got in receiver.got]
    assert ends == ["2023-11-14T22:22:20Z", "2023-11-14T22:23:21Z", "2023-11-14T22:23:20Z"]


def test_a_dead_receiver_delays_no_other(bench: Bench, receiver: Receiver) -> None:
    with http_receiver() as dead:
        dead.usual = Answer(hangs=True)
        tables = [webhook(dead, name="dead", timeout=Duration.parse("1m")), webhook(receiver, name="alive")]
        deliverer = bench.deliverer(*tables)
        deliverer.start()
        bench.put([*tables], firing("k1"), resolved("k1"))
        deliverer.wake()
        receiver.wait_for(2)
        assert ids(receiver) == ["k1.firing", "k1.resolved"]
        dead.ended.set()
        deliverer.stop(PATIENCE)


def test_an_alert_of_another_process_is_delivered_without_a_wake(bench: Bench, receiver: Receiver) -> None:
    hook = webhook(receiver)
    deliverer = bench.deliverer(hook)
    deliverer.start()
    bench.put([hook], firing("k1"))
    receiver.wait_for(1)
    deliverer.stop(PATIENCE)
