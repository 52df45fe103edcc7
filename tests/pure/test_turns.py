"""Who gives way to whom in the gevent loop, while somebody connects."""

import time

import gevent
import pytest
from gevent.event import Event

from streamgauge.harness.drive.wire import turns


def connecting(until: Event) -> gevent.Greenlet:
    def connect() -> None:
        with turns.Shorter():
            until.wait()

    greenlet = gevent.spawn(connect)
    gevent.sleep(0)
    return greenlet


def test_a_new_user_waits_until_nobody_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine takes longer than the moment for which users wait.
    monkeypatch.setattr(turns, "_LONGEST_QUEUE", 600)
    connected, order = Event(), []
    other = connecting(connected)
    other.link(lambda _: order.append("connected"))
    user = gevent.spawn(turns.after_others)
    user.link(lambda _: order.append("begins"))
    gevent.sleep(0.003)
    assert order == []
    connected.set()
    gevent.joinall([other, user], raise_error=True)
    gevent.sleep(0)
    assert order == ["connected", "begins"]


def test_a_new_user_waits_for_a_slow_server_only_for_a_moment() -> None:
    connected = Event()
    other = connecting(connected)
    turns.after_others()
    assert not other.dead
    connected.set()
    other.get()


def test_work_that_can_wait_is_postponed_once_while_somebody_connects() -> None:
    connected, looking = Event(), turns.Postponed()
    assert not looking.now()
    other = connecting(connected)
    turns.over()  # the turn begins
    time.sleep(0.001)  # not gevent's: it is the same turn
    assert [looking.now() for _ in range(4)] == [True, False, True, False]
    connected.set()
    other.get()
    assert [looking.now() for _ in range(2)] == [False, False]
