"""What a process records of its run, and how it hands it on."""

import gc
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gevent
import pytest
from gevent.monkey import get_original

from streamgauge.harness.drive.recorder import Recorder, make_room_for_descriptors
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import StreamObservation
from streamgauge.harness.record.vitals import Vital, VitalSample
from tests.support.record import observation


def blocked(seconds: float) -> None:
    """Stop the whole loop, as a system call does that gevent does not know."""
    get_original("time", "sleep")(seconds)


class Delivered(NamedTuple):
    streams: list[StreamObservation]
    vitals: list[VitalSample]


@pytest.fixture
def delivered() -> list[Delivered]:
    return []


@pytest.fixture
def recorder(delivered: list[Delivered]) -> Iterator[Recorder]:
    found = Recorder(
        RunClock(origin=0, offset=0), {Vital.USERS: lambda: 3}, lambda *batch: delivered.append(Delivered(*batch))
    )
    yield found
    found.stop()


def test_a_batch_is_bounded_in_streams(recorder: Recorder, delivered: list[Delivered]) -> None:
    for sequence in range(1_200):
        recorder.record(observation(sequence=sequence))
    recorder.stop()
    assert [len(batch.streams) for batch in delivered] == [500, 500, 200]
    assert [seen.sequence for batch in delivered for seen in batch.streams] == list(range(1_200))


def test_a_batch_is_bounded_in_bytes_but_holds_one_stream_however_large(
    recorder: Recorder, delivered: list[Delivered]
) -> None:
    for size in (200_000, 200_000, 200_000, 900_000, 10):
        recorder.record(observation(arrivals=bytes(size)))
    recorder.stop()
    assert [len(batch.streams) for batch in delivered] == [2, 1, 1, 1]


def test_while_there_is_no_room_whoever_finished_a_stream_waits_and_the_stream_is_kept(
    recorder: Recorder, delivered: list[Delivered]
) -> None:
    recorder.hold()
    person = gevent.spawn(recorder.record, observation())
    gevent.idle()
    assert not person.ready()
    recorder.release()
    person.join()
    recorder.stop()
    assert [len(batch.streams) for batch in delivered] == [1]


def test_who_waits_for_room_can_be_stopped_and_the_stream_is_kept(
    recorder: Recorder, delivered: list[Delivered]
) -> None:
    recorder.hold()
    person = gevent.spawn(recorder.record, observation())
    gevent.idle()
    person.kill()
    recorder.stop()
    assert [len(batch.streams) for batch in delivered] == [1]


def test_a_process_tells_of_its_own_health_and_of_those_that_it_holds_back(
    recorder: Recorder, delivered: list[Delivered]
) -> None:
    recorder.start()
    recorder.hold()
    gevent.spawn(recorder.record, observation())
    while not any(vital.vital is Vital.CPU_PERCENT for batch in delivered for vital in batch.vitals):
        gevent.sleep(0.05)
    values = {sample.vital: sample.value for batch in delivered for sample in batch.vitals}
    assert values[Vital.USERS] == 3
    assert values[Vital.HELD_STREAMS] == 1
    assert {Vital.CPU_PERCENT, Vital.LOOP_LAG, Vital.CLOCK_DRIFT} <= values.keys()
    recorder.stop()
    assert gc.isenabled(), "the collector is off only while a run is on"


@pytest.mark.parametrize("at_the_end", [False, True], ids=["in between", "at the end"])
def test_a_stop_of_the_loop_is_measured_whatever_stops_it(
    recorder: Recorder, delivered: list[Delivered], at_the_end: bool
) -> None:
    recorder.start()
    gevent.sleep(0.05)
    blocked(0.4)
    if not at_the_end:
        gevent.sleep(0.05)
    recorder.stop()
    stopped = [s.value for batch in delivered for s in batch.vitals if s.vital is Vital.LOOP_STOPPED]
    assert 350 < sum(stopped) < 20_000
    assert stopped[0] == 0, "the first sample is from the start"
    waits = [s for batch in delivered for s in batch.vitals if s.vital is Vital.CPU_WAIT]
    assert waits or sys.platform != "linux", "who had the core meanwhile is told as well"


def test_storing_is_inside_what_is_measured(delivered: list[Delivered]) -> None:
    """The longest stop of all was SQLite's wait for a lock, in the recorder's own greenlet (issue 13, A1)."""

    def deliver(streams: list[StreamObservation], vitals: list[VitalSample]) -> None:
        delivered.append(Delivered(streams, vitals))
        if streams:
            blocked(0.4)

    recorder = Recorder(RunClock(origin=0, offset=0), {}, deliver)
    recorder.start()
    recorder.record(observation())
    gevent.sleep(1.2)
    recorder.stop()
    assert sum(s.value for batch in delivered for s in batch.vitals if s.vital is Vital.LOOP_STOPPED) > 350


_STATUS = Path("/proc/self/status")


def _room_for_descriptors() -> int:
    """Of this process, before the kernel has to enlarge its table of open files."""
    (size,) = re.findall(r"^FDSize:\s*(\d+)", _STATUS.read_text(), re.MULTILINE)
    return int(size)


def _open() -> list[str]:
    return sorted(each.name for each in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(not _STATUS.exists(), reason="only Linux tells how large the table of open files is")
def test_the_table_of_open_files_is_large_enough_before_the_first_user_begins() -> None:
    told, tell = os.pipe()
    if not (child := os.fork()):  # its table is no larger than it needs
        try:
            before, opened = _room_for_descriptors(), _open()
            make_room_for_descriptors()
            same = _open() == opened
            os.write(tell, f"{before} {_room_for_descriptors()} {int(same)}".encode())
        finally:
            os._exit(0)
    os.close(tell)
    os.waitpid(child, 0)
    with os.fdopen(told) as pipe:
        before, after, unchanged = map(int, pipe.read().split())
    assert before < min(os.sysconf("SC_OPEN_MAX"), 16_384) <= after
    assert unchanged, "a descriptor stayed open"
