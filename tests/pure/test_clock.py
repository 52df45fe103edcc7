import time

from streamgauge.harness.record.clock import RunClock


def test_kernel_stamps_and_our_own_stand_on_one_line() -> None:
    clock = RunClock.starting_at(time.time_ns())
    before = clock.now()
    stamp = clock.from_realtime(time.time_ns())
    after = clock.now()
    allowed = 50_000  # ns: the offset between the two clocks is read to within a few microseconds, on a busy machine
    assert before - allowed <= stamp <= after + allowed


def test_a_clock_made_later_keeps_the_runs_zero() -> None:
    zero = time.time_ns() - 5_000_000_000
    early, late = RunClock.starting_at(zero), RunClock.starting_at(zero)
    assert abs(early.now() - late.now()) < 1_000_000_000
    assert early.now() >= 5_000_000_000 - 1_000_000


def test_monotonic_times_come_onto_the_runs_line() -> None:
    clock = RunClock(origin=1_000, offset=50)
    assert clock.from_monotonic(1_250) == 250
    assert clock.from_realtime(1_300) == 250
