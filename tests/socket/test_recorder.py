"""What a process keeps of its run, and how it gets to the one that stores it, over a line that loses things."""

import gc
from collections.abc import Iterator

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.drive.recorder import Batch, Outbox, Recorder
from streamgauge.harness.record.clock import RunClock, clock_offset
from streamgauge.harness.record.vitals import Vital
from tests.support.record import MS, observation

SECOND = 1_000_000_000


class Line:
    """A line to a store that takes batches in their order, each once; `cut` loses all that is sent."""

    def __init__(self, room: int = 1_000) -> None:
        self.outbox = Outbox(self._carry, room)
        self.now = 100.0
        self.cut = False
        self.silent = False  # batches arrive, but no word comes back
        self.carried: list[int] = []
        self.stored: list[bytes] = []

    def _carry(self, number: int, batch: bytes) -> None:
        self.carried.append(number)
        if not self.cut and number == len(self.stored) + 1:
            self.stored.append(batch)

    def put(self, batch: bytes) -> None:
        self.outbox.put(batch, self.now)

    def word(self) -> None:
        """The store says how far it is."""
        if not self.cut and not self.silent:
            self.outbox.stored(len(self.stored), self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.outbox.push(self.now)


def test_a_batch_is_kept_until_it_is_known_to_be_stored() -> None:
    line = Line()
    line.put(b"one")
    assert len(line.outbox) == 1
    line.word()
    assert len(line.outbox) == 0
    assert line.stored == [b"one"]


def test_only_a_few_batches_are_under_way_at_a_time() -> None:
    line = Line()
    for number in range(30):
        line.put(b"%d" % number)
    assert line.carried == list(range(1, 9))
    line.word()
    assert line.carried == list(range(1, 17))


def test_what_a_lost_connection_took_is_sent_again() -> None:
    line = Line()
    line.cut = True
    for batch in (b"one", b"two", b"three"):
        line.put(batch)
    line.cut = False
    line.pass_time(1)
    assert line.stored == [], "it may still be on its way"
    line.pass_time(2)
    line.word()
    assert line.stored == [b"one", b"two", b"three"]
    assert len(line.outbox) == 0


def test_what_came_twice_is_stored_once() -> None:
    line = Line()
    line.silent = True
    line.put(b"one")
    line.pass_time(3)
    line.silent = False
    line.word()
    assert line.carried == [1, 1]
    assert line.stored == [b"one"]
    line.word()
    assert len(line.outbox) == 0


@given(st.lists(st.sampled_from(["put", "word", "wait", "cut", "mend", "silent", "loud"])))
def test_nothing_is_lost_doubled_or_turned_round_whatever_the_line_does(happenings: list[str]) -> None:
    line, put = Line(), 0
    for what in happenings:
        if what == "put":
            put += 1
            line.put(b"%d" % put)
        elif what == "word":
            line.word()
        elif what == "wait":
            line.pass_time(3)
        elif what in {"cut", "mend"}:
            line.cut = what == "cut"
        else:
            line.silent = what == "silent"
    line.cut = line.silent = False
    for _ in range(put + 1):
        line.pass_time(3)
        line.word()
    assert line.stored == [b"%d" % number for number in range(1, put + 1)]
    assert len(line.outbox) == 0


def test_it_is_full_only_as_long_as_too_much_is_not_stored() -> None:
    line, full = Line(room=10), []
    line.silent = True
    line.put(b"x" * 10)
    full.append(line.outbox.full)
    line.put(b"x")
    full.append(line.outbox.full)
    line.silent = False
    line.word()
    full.append(line.outbox.full)
    assert full == [False, True, False]


# the recorder


@pytest.fixture
def delivered() -> list[Batch]:
    return []


@pytest.fixture
def recorder(delivered: list[Batch]) -> Iterator[Recorder]:
    found = Recorder(RunClock(origin=0, offset=0), {Vital.USERS: lambda: 3}, delivered.append)
    yield found
    found.stop()


def test_a_batch_is_bounded_in_streams(recorder: Recorder, delivered: list[Batch]) -> None:
    for sequence in range(1_200):
        recorder.record(observation(sequence=sequence))
    recorder.stop()
    assert [len(batch.streams) for batch in delivered] == [500, 500, 200]
    assert [seen.sequence for batch in delivered for seen in batch.streams] == list(range(1_200))


def test_a_batch_is_bounded_in_bytes_but_holds_one_stream_however_large(
    recorder: Recorder, delivered: list[Batch]
) -> None:
    for size in (200_000, 200_000, 200_000, 900_000, 10):
        recorder.record(observation(arrivals=bytes(size)))
    recorder.stop()
    assert [len(batch.streams) for batch in delivered] == [2, 1, 1, 1]


def test_while_there_is_no_room_whoever_finished_a_stream_waits_and_the_stream_is_kept(
    recorder: Recorder, delivered: list[Batch]
) -> None:
    recorder.hold(True)
    person = gevent.spawn(recorder.record, observation())
    gevent.idle()
    assert not person.ready()
    recorder.hold(False)
    person.join()
    recorder.stop()
    assert [len(batch.streams) for batch in delivered] == [1]


def test_who_waits_for_room_can_be_stopped_and_the_stream_is_kept(recorder: Recorder, delivered: list[Batch]) -> None:
    recorder.hold(True)
    person = gevent.spawn(recorder.record, observation())
    gevent.idle()
    person.kill()
    recorder.stop()
    assert [len(batch.streams) for batch in delivered] == [1]


def test_a_process_tells_of_its_own_health_and_of_those_that_it_holds_back(
    recorder: Recorder, delivered: list[Batch]
) -> None:
    recorder.start()
    recorder.hold(True)
    gevent.spawn(recorder.record, observation())
    while not any(batch.vitals for batch in delivered):
        gevent.sleep(0.05)
    values = {sample.vital: sample.value for batch in delivered for sample in batch.vitals}
    assert values[Vital.USERS] == 3
    assert values[Vital.HELD_STREAMS] == 1
    assert {Vital.CPU_PERCENT, Vital.LOOP_LAG, Vital.CLOCK_DRIFT} <= values.keys()
    recorder.stop()
    assert gc.isenabled(), "the collector is off only while a run is on"


# clocks


def test_the_quickest_round_tells_how_far_two_clocks_are_apart() -> None:
    slow = (0, 3_000, 10_000)  # ours, theirs, ours: 10 s there and back
    quick = (20_000, 22_050, 20_100)
    assert clock_offset([slow, quick]) == (-2_000, 50)


def test_two_processes_of_one_machine_have_one_clock() -> None:
    assert clock_offset([(100, 101, 140), (200, 239, 240)]) == (0, 20)


@given(
    ahead=st.integers(-3600 * SECOND, 3600 * SECOND),
    ways=st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(0, 50 * MS)), min_size=1),
)
def test_an_offset_is_never_further_off_than_it_says(ahead: int, ways: list[tuple[int, int]]) -> None:
    rounds, theirs = [], 10 * SECOND
    for there, back in ways:
        theirs += SECOND
        rounds.append((theirs - there + ahead, theirs, theirs + back + ahead))
    offset, doubt = clock_offset(rounds)
    assert abs(offset - ahead) <= 2 * doubt + 1 if offset == 0 else abs(offset - ahead) <= doubt + 1
