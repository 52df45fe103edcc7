"""The facts about each process in a run's record."""

import pytest

from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run.messages import Machine, Ready
from streamgauge.harness.run.process_summary import ProcessSummary, about_this_process, about_worker, missing_load

MACHINE = Machine("here", 7, 2, "kernel", "compiled")


def samples(vital: Vital, *values: float) -> list[VitalSample]:
    return [VitalSample(second * 10**9, vital, value) for second, value in enumerate(values)]


def test_the_worst_value_is_the_one_farthest_from_0() -> None:
    process = ProcessSummary()
    process.add(3, samples(Vital.CLOCK_DRIFT, 5.0, -9.0, 2.0) + samples(Vital.CPU_PERCENT, 40.0, 90.0, 10.0))
    process.add(2, samples(Vital.CLOCK_DRIFT, 7.0))
    assert process.facts() == {"streams": 5, "clock_drift_ns": -9, "cpu_max": 90.0}


def test_what_a_lost_process_had_begun_and_not_sent_is_missing() -> None:
    process = ProcessSummary()
    process.add(10, samples(Vital.STREAMS_BEGUN, 12.0, 17.0))
    assert (process.lost_least, process.lost_most) == (7, 7 + 5), "it began up to 5 a second"
    process.add(9, [], begun=21)
    assert (process.lost_least, process.lost_most) == (2, 7), "a batch tells more than the last sample"
    process.lost = True
    assert process.facts() == {"streams": 19, "lost_least": 2, "lost_most": 7, "clock_drift_ns": 0}
    assert process.loss().startswith("2 to 7 streams: 2 that it had begun by its last message, and up to 5 that")


def test_a_process_that_is_lost_while_users_are_added_may_have_begun_twice_as_many() -> None:
    process = ProcessSummary()
    process.add(10, samples(Vital.STREAMS_BEGUN, 12.0, 17.0) + samples(Vital.USERS, 5.0, 10.0))
    assert (process.lost_least, process.lost_most) == (7, 7 + 10)
    process.add(0, samples(Vital.USERS, 10.0))
    assert process.lost_most == 7 + 5, "no more were added"


def test_a_process_that_is_lost_before_it_told_its_pace_is_taken_to_be_as_fast_as_the_fastest() -> None:
    lost, other = ProcessSummary(lost=True), ProcessSummary()
    assert "an unknown number of streams" in lost.loss()
    assert lost.facts() == {"streams": 0, "lost_least": 0, "clock_drift_ns": 0}
    other.add(9, samples(Vital.STREAMS_BEGUN, 0.0, 12.0))
    lost.assume_pace_of([lost, other])
    assert (lost.lost_least, lost.lost_most) == (0, 12), "a second at 12 a second: its users all begin at once"


def users(seconds: range, count: float) -> ProcessSummary:
    return ProcessSummary(users=[(second * 10**9, count) for second in seconds])


def test_the_missing_load_is_that_of_workers_that_left_until_the_run_was_to_end() -> None:
    workers = {"worker-0": users(range(1, 11), 4), "worker-1": users(range(1, 6), 4)}
    assert missing_load(workers, [], 10 * 10**9) == 0
    assert missing_load(workers, ["worker-1"], 10 * 10**9) == pytest.approx(20 / 80), "4 users for 5 s of 10"
    assert missing_load(workers, ["worker-0", "worker-1"], 60 * 10**9) == pytest.approx(420 / 480)


def test_a_worker_that_was_lost_before_its_first_sample_had_as_many_users_as_the_others() -> None:
    workers = {"worker-0": users(range(1, 11), 4), "worker-1": ProcessSummary()}
    assert missing_load(workers, ["worker-1"], 10 * 10**9) == pytest.approx(40 / 80)
    assert missing_load({"worker-1": ProcessSummary()}, ["worker-1"], 10 * 10**9) == 1


def test_users_that_others_took_over_are_not_missing() -> None:
    heir = users(range(1, 6), 4)
    heir.users += [(second * 10**9, 8.0) for second in range(6, 11)]
    workers = {"worker-0": heir, "worker-1": users(range(1, 6), 4)}
    assert missing_load(workers, ["worker-1"], 10 * 10**9) == 0


def test_a_worker_that_ended_its_users_before_it_left_is_missed_from_then_on() -> None:
    left = users(range(1, 6), 4)
    left.users.append((6 * 10**9, 0.0))
    workers = {"worker-0": users(range(1, 11), 4), "worker-1": left}
    assert missing_load(workers, ["worker-1"], 10 * 10**9) == pytest.approx(20 / 80)


def test_every_sample_of_held_streams_is_a_second() -> None:
    process = ProcessSummary()
    process.add(0, samples(Vital.HELD_STREAMS, 3.0, 1.0))
    assert process.held_seconds == 2


def test_only_a_worker_s_clock_is_compared_with_the_run_s() -> None:
    here = about_this_process(MACHINE)
    assert here == {"host": "here", "pid": 7, "cpus": 2, "stamps": "kernel", "reader": "compiled", "resolution": ""}
    ready = Ready("run-1", "worker-0", MACHINE, None, None)
    assert about_worker(ready) == {**here, "clock_offset_ns": None, "clock_doubt_ns": None}
