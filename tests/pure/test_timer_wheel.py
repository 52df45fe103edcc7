"""The reference server's timer wheel, on a clock that tests move: nothing here waits."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamgauge.reference_server.delivery.timer_wheel import TimerWheel

MS = 1_000_000
SLOT = MS // 2


@dataclass
class Call:
    at: int
    call: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Time:
    """A clock that stands still until a test moves it, and the timers that were set by it."""

    at: int = 0
    calls: list[Call] = field(default_factory=list)

    def now(self) -> int:
        return self.at

    def call_at(self, at: int, call: Callable[[], None]) -> Call:
        self.calls.append(Call(at, call))
        return self.calls[-1]

    def set_timers(self) -> list[int]:
        return [each.at for each in self.calls if not each.cancelled]

    def stop_until(self, at: int) -> None:
        """The process does not run until then: a suspended machine, or a loop that is blocked."""
        self.at = at

    def pass_until(self, at: int) -> None:
        """Make each call at its time, or now if that has passed."""
        while due := [each for each in self.calls if not each.cancelled and each.at <= at]:
            first = min(due, key=lambda each: each.at)
            self.calls.remove(first)
            self.at = max(self.at, first.at)
            first.call()
        self.at = max(self.at, at)


class Item:
    """Has events at these times; `seen` gets what happens to it."""

    def __init__(self, name: str, moments: Iterable[int], seen: list[tuple[str, str, int]]) -> None:
        self.name = name
        self._moments = list(moments)
        self._seen = seen

    def tick(self, now: int) -> int:
        self._seen.append(("tick", self.name, now - self._moments.pop(0)))
        return self._moments[0] if self._moments else 0

    def send(self) -> None:
        self._seen.append(("send", self.name, 0))


class Bench:
    """A wheel, its time, and what its items have seen: tick or send, the item, how late."""

    def __init__(self) -> None:
        self.time = Time()
        self.wheel = TimerWheel(self.time.now, self.time.call_at)
        self.seen: list[tuple[str, str, int]] = []

    def put(self, name: str, *moments: int) -> None:
        self.wheel.put(Item(name, moments, self.seen), moments[0])

    def ticks(self) -> list[tuple[str, int]]:
        """Which item was served, and how late."""
        return [(name, late) for what, name, late in self.seen if what == "tick"]

    def order(self) -> str:
        return "".join(name for name, _ in self.ticks())


@given(st.lists(st.lists(st.integers(1, 20 * MS), min_size=1, max_size=9).map(sorted), max_size=9))
def test_each_event_is_served_once_never_early_and_at_most_a_slot_late(streams: list[list[int]]) -> None:
    bench = Bench()
    for number, moments in enumerate(streams):
        bench.put(str(number), *moments)
    bench.time.pass_until(21 * MS)
    assert len(bench.ticks()) == sum(map(len, streams))
    assert all(0 < late <= SLOT for _, late in bench.ticks())
    assert bench.seen.count(("send", "0", 0)) == (len(streams[0]) if streams else 0)
    assert bench.time.set_timers() == [], "an empty wheel does not wake the process"


def test_items_are_served_in_the_order_of_their_due_times_whatever_order_they_came_in() -> None:
    bench = Bench()
    for name, at in (("c", 9 * MS), ("a", 2 * MS), ("d", 12 * MS), ("b", 5 * MS)):
        bench.put(name, at)
    bench.time.pass_until(20 * MS)
    assert bench.order() == "abcd"


def test_one_timer_is_set_for_the_earliest_item_and_an_earlier_one_replaces_it() -> None:
    bench = Bench()
    bench.put("late", 9 * MS)
    bench.put("later", 10 * MS)
    assert bench.time.set_timers() == [9 * MS + SLOT]
    bench.put("early", 3 * MS)
    assert bench.time.set_timers() == [3 * MS + SLOT], "the other is cancelled"
    bench.time.pass_until(4 * MS)
    assert bench.time.set_timers() == [9 * MS + SLOT], "set again when the earlier item is served"


def test_all_items_of_a_slot_tick_before_one_of_them_sends() -> None:
    bench = Bench()
    bench.put("a", 100)
    bench.put("b", 200)
    bench.time.pass_until(MS)
    assert [what for what, _, _ in bench.seen] == ["tick", "tick", "send", "send"]


def test_after_a_long_stop_every_event_is_served_at_once_and_the_next_ones_are_on_time() -> None:
    bench = Bench()
    bench.put("a", *(number * 10 * MS for number in range(600)))
    bench.put("b", 4_000 * MS)
    bench.time.pass_until(1_000 * MS)
    served = len(bench.ticks())
    assert served == 100, "those of the first second"
    bench.time.stop_until(5_000 * MS)
    bench.time.pass_until(5_000 * MS)
    caught_up = bench.ticks()[served:]
    assert len(caught_up) == 400 + 1
    assert [late for name, late in caught_up if name == "a"] == [late * 10 * MS for late in range(400, 0, -1)]
    bench.time.pass_until(6_000 * MS)
    assert len(bench.ticks()) == 600 + 1, "nothing is lost"
    assert all(late <= SLOT for _, late in bench.ticks()[served + 401 :]), "the delay does not last"


def test_overdue_items_are_served_when_the_server_catches_up_before_long_work() -> None:
    bench = Bench()
    bench.put("a", MS)
    bench.time.stop_until(MS + SLOT + MS // 10)
    bench.wheel.catch_up()
    assert bench.order() == "", "0.1 ms late: not worth a turn of its own"
    bench.time.stop_until(2 * MS)
    bench.wheel.catch_up()
    assert bench.ticks() == [("a", MS)]
    bench.wheel.catch_up()
    bench.time.pass_until(9 * MS)
    assert bench.order() == "a", "its timer finds nothing to serve"


def test_an_item_without_another_due_time_rests_until_it_is_put_again() -> None:
    bench = Bench()
    bench.put("a", MS)
    bench.time.pass_until(5 * MS)
    assert bench.time.set_timers() == []
    bench.put("a", 6 * MS)
    bench.time.pass_until(9 * MS)
    assert bench.order() == "aa"


def test_an_item_that_is_put_while_others_are_served_is_served_in_time() -> None:
    bench = Bench()

    class Starter(Item):
        def tick(self, now: int) -> int:
            bench.put("due", now - MS)
            bench.put("later", now + MS)
            return super().tick(now)

    bench.wheel.put(Starter("first", [MS], bench.seen), MS)
    bench.time.pass_until(MS + SLOT)
    assert bench.order() == "firstdue", "what is overdue goes into the same turn"
    bench.time.pass_until(9 * MS)
    assert bench.order() == "firstduelater"


def test_an_item_that_fails_is_reported_and_the_others_are_served() -> None:
    bench, faults = Bench(), []

    class Broken(Item):
        def tick(self, now: int) -> int:
            raise ValueError(f"broken at {now}")

    async def serve() -> None:
        def keep(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            faults.append(str(context["exception"]))

        asyncio.get_running_loop().set_exception_handler(keep)
        bench.wheel.put(Broken("broken", [MS], bench.seen), MS)
        bench.put("a", MS, 3 * MS)
        bench.time.pass_until(9 * MS)

    asyncio.run(serve())
    assert faults == [f"broken at {MS + SLOT}"]
    assert bench.order() == "aa"
