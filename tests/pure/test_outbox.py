"""What a worker keeps until the master has stored it, over a line that loses things."""

from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.run.outbox import Outbox


class Line:
    """A line to a store that takes batches in their order, each once; `cut` loses all that is sent."""

    def __init__(self, room: int = 1_000) -> None:
        self.outbox = Outbox(self._carry, room)
        self.now = 100.0
        self.cut = False
        self.silent = False  # batches arrive, but no acknowledgement comes back
        self.carried: list[int] = []
        self.stored: list[bytes] = []

    def _carry(self, numbered: bytes) -> None:
        number, batch = numbered.split(b" ", 1)
        self.carried.append(int(number))
        if not self.cut and int(number) == len(self.stored) + 1:
            self.stored.append(batch)

    def put(self, batch: bytes) -> None:
        self.outbox.put(b"%d %b" % (self.outbox.next_number, batch), self.now)

    def acknowledge(self) -> None:
        """The store says up to which number it has all."""
        if not self.cut and not self.silent:
            self.outbox.stored(len(self.stored), self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.outbox.push(self.now)


def test_a_batch_is_kept_until_it_is_known_to_be_stored() -> None:
    line = Line()
    line.put(b"one")
    assert len(line.outbox) == 1
    line.acknowledge()
    assert len(line.outbox) == 0
    assert line.stored == [b"one"]


def test_only_a_window_of_batches_is_sent_without_acknowledgement() -> None:
    line = Line()
    for number in range(30):
        line.put(b"%d" % number)
    assert line.carried == list(range(1, 9))
    line.acknowledge()
    assert line.carried == list(range(1, 17))


def test_batches_lost_with_a_connection_are_sent_again() -> None:
    line = Line()
    line.cut = True
    for batch in (b"one", b"two", b"three"):
        line.put(batch)
    line.cut = False
    line.pass_time(1)
    assert line.stored == [], "it may still be on its way"
    line.pass_time(2)
    line.acknowledge()
    assert line.stored == [b"one", b"two", b"three"]
    assert len(line.outbox) == 0


def test_a_batch_that_arrives_twice_is_stored_once() -> None:
    line = Line()
    line.silent = True
    line.put(b"one")
    line.pass_time(3)
    line.silent = False
    line.acknowledge()
    assert line.carried == [1, 1]
    assert line.stored == [b"one"]
    line.acknowledge()
    assert len(line.outbox) == 0


@given(st.lists(st.sampled_from(["put", "acknowledge", "wait", "cut", "mend", "silent", "loud"])))
def test_on_an_unreliable_line_all_batches_are_stored_once_and_in_order(happenings: list[str]) -> None:
    line, put = Line(), 0
    for what in happenings:
        if what == "put":
            put += 1
            line.put(b"%d" % put)
        elif what == "acknowledge":
            line.acknowledge()
        elif what == "wait":
            line.pass_time(3)
        elif what in {"cut", "mend"}:
            line.cut = what == "cut"
        else:
            line.silent = what == "silent"
    line.cut = line.silent = False
    for _ in range(put + 1):
        line.pass_time(3)
        line.acknowledge()
    assert line.stored == [b"%d" % number for number in range(1, put + 1)]
    assert len(line.outbox) == 0


def test_an_outbox_is_full_only_while_too_many_bytes_are_not_acknowledged() -> None:
    line, full = Line(room=10), []
    line.silent = True
    line.put(b"x" * 8)
    full.append(line.outbox.full)
    line.put(b"x")
    full.append(line.outbox.full)
    line.silent = False
    line.acknowledge()
    full.append(line.outbox.full)
    assert full == [False, True, False]
