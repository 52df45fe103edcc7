"""When a worker takes its master for gone, without waiting for it."""

from collections.abc import Callable

import gevent
import pytest

from streamgauge.harness.drive.dispatcher import Waiting
from streamgauge.harness.run.master_watch import BROKEN, MasterWatch
from streamgauge.harness.run.messages import SILENT

SECOND = 1_000_000_000  # ns


class Door:
    """A line to the master that has connected."""

    connected: bool | None = True
    heard = 0


class Watched:
    """A watch whose time passes at once. `happens` is called with the time, s, before each look; it ends after 60 s."""

    def __init__(self, happens: Callable[[float, Door], float], under_way: bool = True) -> None:
        """`happens` returns for how long this process then stands still, s."""
        self.said: list[tuple[float, str]] = []  # when the master was taken for gone, and why
        self._now = 0.0
        self._happens = happens
        self._door = Door()
        waiting = Waiting(lambda: round(self._now * SECOND), self._pass)
        MasterWatch(self._door, lambda: under_way, lambda why: self.said.append((self._now, why)), waiting)
        gevent.idle()

    def _pass(self, seconds: float) -> None:
        self._now += seconds + self._happens(self._now, self._door)
        if self._now > 60:
            raise gevent.GreenletExit


def talk(_: float, door: Door) -> float:
    """A master that answers."""
    door.heard += 1
    return 0.0


def nothing(_: float, __: Door) -> float:
    return 0.0


def cut(now: float, door: Door) -> float:
    """A line that breaks after 10 s, while the process has still much to read."""
    door.connected = now < 10
    return talk(now, door)


def test_a_master_that_answers_is_there() -> None:
    assert Watched(talk).said == []


def test_a_master_that_says_nothing_while_users_run_is_gone() -> None:
    ((at, why),) = Watched(nothing).said
    assert at == pytest.approx(SILENT, abs=0.25)
    assert why == "the master has said nothing for 10 s"


def test_silence_means_nothing_while_no_users_run() -> None:
    assert Watched(nothing, under_way=False).said == []


@pytest.mark.parametrize("under_way", [True, False])
def test_a_master_without_a_connection_is_gone_sooner(under_way: bool) -> None:
    ((at, why),) = Watched(cut, under_way).said
    assert at == pytest.approx(10 + BROKEN, abs=0.5)
    assert why == "the master has been disconnected for 2 s"


def test_a_connection_that_comes_back_in_time_counts_as_none_lost() -> None:
    def flickers(now: float, door: Door) -> float:
        door.connected = now % 3 < 1.5
        return talk(now, door)

    assert Watched(flickers).said == []


def test_a_stop_of_the_process_itself_is_no_silence_of_the_master() -> None:
    def stops(now: float, door: Door) -> float:
        door.heard += now % 4 < 0.25  # one word in 4 s
        return 20.0 if now == 5 else 0.0

    assert Watched(stops).said == []
