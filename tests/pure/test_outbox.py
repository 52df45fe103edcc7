"""What a worker keeps until the master has stored it, over a line that loses things."""

from collections import deque

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
        self.full = False  # the store takes nothing
        self.carried: list[int] = []
        self.stored: list[bytes] = []
        self._missed = False  # whether a batch came that the store did not take, since the last acknowledgement

    def _carry(self, numbered: bytes) -> None:
        number, batch = numbered.split(b" ", 1)
        self.carried.append(int(number))
        if self.cut:
            return
        if int(number) == len(self.stored) + 1 and not self.full:
            self.stored.append(batch)
        elif int(number) > len(self.stored):
            self._missed = True

    def put(self, batch: bytes) -> None:
        self.outbox.put(b"%d %b" % (self.outbox.next_number, batch), self.now)

    def acknowledge(self) -> None:
        """The store says up to which number it has all, and whether it did not take what came."""
        if not self.cut and not self.silent:
            if self._missed:
                self.outbox.not_taken(self.now)
            self._missed = False
            self.outbox.stored(len(self.stored), self.now)

    def mend(self) -> None:
        """There is a new line."""
        self.cut = False
        self.outbox.reconnected(self.now)

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


def test_batches_lost_with_a_connection_are_sent_again_over_the_next_one() -> None:
    line = Line()
    line.cut = True
    for batch in (b"one", b"two", b"three"):
        line.put(batch)
    line.mend()
    assert line.stored == [b"one"], "one shows whether the line is there"
    line.acknowledge()
    line.acknowledge()
    assert line.stored == [b"one", b"two", b"three"]
    assert len(line.outbox) == 0


def test_batches_that_the_store_did_not_take_are_sent_again_a_little_later() -> None:
    line = Line()
    line.full = True
    for batch in (b"one", b"two", b"three"):
        line.put(batch)
    line.acknowledge()
    line.full = False
    line.put(b"four")
    line.pass_time(1)
    assert line.carried == [1, 2, 3], "otherwise a store without room would be asked all the time"
    line.pass_time(1.5)
    for _ in range(3):
        line.acknowledge()
    assert line.stored == [b"one", b"two", b"three", b"four"]


def test_a_slow_line_is_not_filled_with_repeats() -> None:
    """It takes 6 s for a batch, and holds more of them than an acknowledgement is waited for."""
    on_the_way: deque[int] = deque()
    outbox, stored = Outbox(lambda batch: on_the_way.append(int(batch))), 0
    for second in range(600):
        if second % 2 == 0:
            outbox.put(b"%d" % outbox.next_number, second)
        if second % 6 == 5:
            stored += on_the_way.popleft() == stored + 1
            outbox.stored(stored, second)
        outbox.push(second)
    assert stored > 0.8 * 600 / 6
    assert len(on_the_way) <= 10, "a window, and few repeats"


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


@given(st.lists(st.sampled_from(["put", "acknowledge", "wait", "cut", "mend", "silent", "loud", "full", "room"])))
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
        elif what == "cut":
            line.cut = True
        elif what == "mend":
            line.mend()
        elif what in {"full", "room"}:
            line.full = what == "full"
        else:
            line.silent = what == "silent"
    line.silent = line.full = False
    line.mend()
    for _ in range(put + 4):
        line.pass_time(9)
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
