"""The facts about each process in a run's record."""

from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run.messages import Machine, Ready
from streamgauge.harness.run.process_summary import ProcessSummary, about_this_process, about_worker

MACHINE = Machine("here", 7, 2, "kernel", "compiled")


def samples(vital: Vital, *values: float) -> list[VitalSample]:
    return [VitalSample(second, vital, value) for second, value in enumerate(values)]


def test_the_worst_value_is_the_one_farthest_from_0() -> None:
    process = ProcessSummary()
    process.add(3, samples(Vital.CLOCK_DRIFT, 5.0, -9.0, 2.0) + samples(Vital.CPU_PERCENT, 40.0, 90.0, 10.0))
    process.add(2, samples(Vital.CLOCK_DRIFT, 7.0))
    assert process.facts() == {"streams": 5, "clock_drift_ns": -9, "cpu_max": 90.0}


def test_what_a_lost_process_had_begun_and_not_sent_is_missing() -> None:
    process = ProcessSummary()
    process.add(10, samples(Vital.STREAMS_BEGUN, 12.0, 17.0))
    assert process.missing == 7
    process.add(9, [])
    assert process.missing == 0, "the streams of its last batch began after the last sample"


def test_every_sample_of_held_streams_is_a_second() -> None:
    process = ProcessSummary()
    process.add(0, samples(Vital.HELD_STREAMS, 3.0, 1.0))
    assert process.held_seconds == 2


def test_only_a_worker_s_clock_is_compared_with_the_run_s() -> None:
    here = about_this_process(MACHINE)
    assert here == {"host": "here", "pid": 7, "cpus": 2, "stamps": "kernel", "reader": "compiled"}
    ready = Ready("run-1", "worker-0", MACHINE, None, None)
    assert about_worker(ready) == {**here, "clock_offset_ns": None, "clock_doubt_ns": None}
