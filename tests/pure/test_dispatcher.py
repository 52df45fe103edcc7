"""Who gets an arrival and when, and when it is dropped."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import gevent
import pytest
from gevent.event import Event

from streamgauge.harness.drive.dispatcher import Dispatcher, Unserved, Waiting
from tests.support.late import Late
from tests.support.record import MS

probing = Late("streamgauge.harness.run.probing")

# who serves it


class Doorway:
    """A dispatcher and those who come to it: `got` says who had an arrival that was due when."""

    def __init__(
        self,
        moments: Sequence[int],
        people: Sequence[str],
        weights: Mapping[str, float] = MappingProxyType({"A": 1}),
        most: int = 10_000,
    ) -> None:
        self.got: list[tuple[str, int]] = []
        self.leave = Event()  # those who are busy are so until then
        self.dispatcher = Dispatcher(
            ((number, number) for number in moments), 1, weights, most=lambda: most, fetch=self.come
        )
        for place, kind in enumerate(people):
            self.come(kind, f"{kind}{place}")
        gevent.sleep(0)
        self.dispatcher.open(0)
        gevent.idle()

    def come(self, kind: str, name: str = "") -> None:
        gevent.spawn(self.serve, kind, name or f"another {kind}")

    def serve(self, kind: str, name: str) -> None:
        while True:
            with self.dispatcher.arrival(kind) as arrival:
                self.got.append((name, arrival.due_at))
                self.leave.wait()


def test_an_arrival_goes_to_the_user_that_became_free_last() -> None:
    door = Doorway([0], ["A", "A"])
    assert door.got == [("A1", 0)]
    assert (door.dispatcher.arrivals, door.dispatcher.dropped) == (1, 0)


def test_when_all_users_are_busy_arrivals_are_dropped_and_counted() -> None:
    door = Doorway([0, 1, 2], ["A"] * 9, most=2)
    assert [due for _, due in door.got] == [0, 1]
    assert (door.dispatcher.arrivals, door.dispatcher.dropped) == (3, 1)


def test_a_user_of_the_class_is_started_if_none_of_it_is_free() -> None:
    door = Doorway(range(40), ["A"] * 40, {"A": 3, "B": 1})
    assert sorted(due for _, due in door.got) == list(range(40))
    assert "another B" in {name for name, _ in door.got}
    assert door.dispatcher.dropped == 0


def test_classes_get_arrivals_by_weight_and_the_choice_depends_only_on_the_number() -> None:
    numbers = range(2_000)
    weights = {"A": 3, "B": 1}
    of_a = {due for name, due in Doorway(numbers, ["A"] * 2_000, weights).got if "A" in name}
    assert len(of_a) / 2_000 == pytest.approx(0.75, abs=0.04)  # four standard errors
    of_a_among_odd = {due for name, due in Doorway(numbers[1::2], [], weights).got if "A" in name}
    assert of_a_among_odd == {due for due in of_a if due % 2}


# when


class Time:
    """Time that passes at once, while the dispatcher sleeps; the n-th sleep ends `late[n]` ns after its time."""

    def __init__(self, *late: int) -> None:
        self.at = 0
        self._late = iter(late)

    def sleep(self, seconds: float) -> None:
        if seconds:
            self.at += round(seconds * 1e9) + next(self._late, 0)
        gevent.sleep(0)


def handed_out(moments: Sequence[int], time: Time, most: int = 1) -> tuple[list[tuple[int, int]], Dispatcher]:
    """When each arrival was due and when a user had it, in ns. The user is free again as soon as others may run."""
    got: list[tuple[int, int]] = []
    dispatcher = Dispatcher(
        enumerate(moments), 1, {"A": 1}, lambda: most, pytest.fail, Waiting(lambda: time.at, time.sleep)
    )

    def serve() -> None:
        while True:
            with dispatcher.arrival("A") as arrival:
                got.append((arrival.due_at, time.at))

    gevent.spawn(serve)
    gevent.sleep(0)
    dispatcher.open(0)
    gevent.idle()
    return got, dispatcher


def test_each_arrival_is_handed_out_when_it_is_due() -> None:
    moments = [0, 1, 10 * MS, 10 * MS, 3_600_000 * MS]
    got, dispatcher = handed_out(moments, Time())
    assert [due for due, _ in got] == moments
    assert all(at == due for due, at in got)
    assert (dispatcher.arrivals, dispatcher.dropped) == (5, 0)


def test_an_arrival_is_not_handed_out_early_if_a_sleep_ends_early() -> None:
    got, _ = handed_out([10 * MS], Time(-7 * MS, -MS))
    assert got == [(10 * MS, 10 * MS)]


def test_a_late_wake_up_delays_no_later_arrival() -> None:
    got, _ = handed_out([10 * MS, 20 * MS, 30 * MS], Time(4 * MS))
    assert got == [(10 * MS, 14 * MS), (20 * MS, 20 * MS), (30 * MS, 30 * MS)]


def test_after_a_long_stop_all_that_was_due_is_handed_out_with_its_due_time_and_nothing_is_lost() -> None:
    moments = [second * 1_000 * MS for second in range(1, 60)]
    got, dispatcher = handed_out(moments, Time(0, 30_000 * MS))
    assert [due for due, _ in got] == moments
    assert [at // MS for _, at in got] == [1_000, *[32_000] * 31, *range(33_000, 60_000, 1_000)]
    assert (dispatcher.arrivals, dispatcher.dropped) == (59, 0), "the one user became free between any two"


def test_a_probe_that_is_too_late_or_finds_nobody_free_is_not_sent_and_recorded_with_the_reason() -> None:
    time, sent, left_out = Time(0, 3_500 * MS), list[tuple[int, int]](), list[tuple[str, int, str]]()
    second, leave = 1_000 * MS, Event()
    dispatcher = Dispatcher(
        enumerate(range(second, 7 * second, second)),
        1, {"A": 1}, lambda: 2, pytest.fail, Waiting(lambda: time.at, time.sleep),
    )  # fmt: skip
    dispatcher.unserved = Unserved(second, lambda *what: left_out.append(what))

    def serve() -> None:
        while True:
            with dispatcher.arrival("A") as arrival:
                sent.append((arrival.due_at // second, time.at // MS))
                leave.wait()

    for _ in range(2):
        gevent.spawn(serve)
    gevent.sleep(0)
    dispatcher.open(0)
    gevent.idle()
    assert sent == [(1, 1_000), (5, 5_500)], "one is sent late rather than not at all"
    late = "the process that sends had no time for it until {} s after it was due"
    assert left_out == [
        ("A", 2 * second, late.format(3.5)),
        ("A", 3 * second, late.format(2.5)),
        ("A", 4 * second, late.format(1.5)),
        ("A", 6 * second, "all 2 users still waited for their answers"),
    ]
    assert (dispatcher.arrivals, dispatcher.dropped) == (6, 4)


def test_a_closed_dispatcher_hands_out_nothing_more() -> None:
    time = Time()

    def close_at_noon(seconds: float) -> None:
        time.sleep(seconds)
        if time.at == 12 * MS:
            dispatcher.close()

    dispatcher = Dispatcher(
        enumerate(number * MS for number in range(24)),
        1, {"A": 1}, lambda: 24, lambda _: None, Waiting(lambda: time.at, close_at_noon),
    )  # fmt: skip
    dispatcher.open(0)
    gevent.idle()
    assert dispatcher.arrivals == 12


def test_a_prober_ends_its_run_when_a_probe_has_just_ended() -> None:
    dispatcher = Dispatcher([(0, 0)], 1, {"A": 1}, most=lambda: 1, fetch=lambda _: None)
    leave = Event()

    def serve() -> None:
        with dispatcher.arrival("A"):
            leave.wait()

    gevent.spawn(serve)
    gevent.sleep(0)
    steps = iter([lambda: None, lambda: dispatcher.open(0), lambda: None, leave.set])
    now = [0]

    def sleep(seconds: float) -> None:
        now[0] += round(seconds * 1e9)
        next(steps)()
        gevent.idle()

    probing.between_probes(dispatcher, 60.0, Waiting(lambda: now[0], sleep))
    assert next(steps, None) is None, "not before the probe began and ended"
    steps = iter([lambda: None] * 3)
    probing.between_probes(dispatcher, 0.12, Waiting(lambda: now[0], sleep))
    assert next(steps, None) is None, "a schedule that leaves no gap does not hold it for ever"
