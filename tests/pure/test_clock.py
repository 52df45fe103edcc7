"""One timeline for a run, on one machine and on several."""

import time

from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.drive.wire.reads import Read
from streamgauge.harness.record.clock import RunClock, clock_offset
from tests.support.record import MS

SECOND = 1_000_000_000


def test_kernel_stamps_and_our_own_times_are_on_one_axis() -> None:
    clock = RunClock.starting_at(time.time_ns())
    before = clock.now()
    stamp = clock.from_monotonic(Read(0, time.time_ns(), 0).arrived(clock))
    after = clock.now()
    allowed = 50_000  # ns: the offset between the two clocks is read to within a few microseconds, on a busy machine
    assert before - allowed <= stamp <= after + allowed


def test_a_clock_made_later_keeps_the_runs_zero() -> None:
    zero = time.time_ns() - 5_000_000_000
    early, late = RunClock.starting_at(zero), RunClock.starting_at(zero)
    assert abs(early.now() - late.now()) < 1_000_000_000
    assert early.now() >= 5_000_000_000 - 1_000_000


def test_monotonic_times_are_converted_to_the_runs_axis() -> None:
    clock = RunClock(origin=1_000, offset=50)
    assert clock.from_monotonic(1_250) == 250


def test_the_offset_of_two_clocks_is_taken_from_the_quickest_round() -> None:
    slow = (0, 3_000, 10_000)  # ours, theirs, ours: 10 s there and back
    quick = (20_000, 22_050, 20_100)
    assert clock_offset([slow, quick]) == (-2_000, 50)


def test_two_processes_of_one_machine_have_one_clock() -> None:
    assert clock_offset([(100, 101, 140), (200, 239, 240)]) == (0, 20)


@given(
    ahead=st.integers(-3600 * SECOND, 3600 * SECOND),
    ways=st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(0, 50 * MS)), min_size=1),
)
def test_an_offset_is_never_off_by_more_than_its_stated_error(ahead: int, ways: list[tuple[int, int]]) -> None:
    rounds, theirs = [], 10 * SECOND
    for there, back in ways:
        theirs += SECOND
        rounds.append((theirs - there + ahead, theirs, theirs + back + ahead))
    offset, doubt = clock_offset(rounds)
    assert abs(offset - ahead) <= 2 * doubt + 1 if offset == 0 else abs(offset - ahead) <= doubt + 1
