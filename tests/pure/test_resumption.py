"""The arithmetic of answers over several connections: gaps, what is lost and twice, when to come back."""

from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.drive.behaviour import Reconnect
from streamgauge.harness.drive.reading.resumption import follow
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import token
from tests.support.record import observation

NOTHING = Redaction([])  # to mask


def piece(numbers: list[int], outcome: Outcome = Outcome.RESET) -> tuple[StreamObservation, bytes]:
    """A record of one chunk of content for each number, and its body."""
    body = b"".join(b"id: r:%d\n%b" % (number, token(number)) for number in numbers)
    return observation([("text", 10.0 * place) for place in range(len(numbers))], outcome=outcome), body


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(1, 21), st.integers(0, 20)), max_size=4))
def test_lost_and_twice_add_up_over_any_breaks(begun: int, pieces: list[tuple[int, int]]) -> None:
    """Each connection brings some numbers in a row from anywhere. Had = the highest − what was lost, and each once or
    more often."""
    seen, body = piece(list(range(1, begun + 1)))
    _, place = follow(seen, body, None, NOTHING, by_link=False)
    had, highest, lost, twice = list(range(1, begun + 1)), begun, 0, 0
    for start, count in pieces:
        numbers = list(range(start, start + count))
        seen, place = follow(*piece(numbers), place, NOTHING, by_link=False)
        lost += seen.resume_lost or 0
        twice += seen.resume_duplicated or 0
        had += numbers
        highest = max([highest, *numbers])
    # An event that was left out and came later counts as lost and as duplicated: its reader no longer waits for it.
    assert highest - lost + twice == len(had)


@given(st.integers(1, 5), st.integers(0, 5), st.floats(0, 1e6), st.floats(0, 1e6), st.integers())
def test_nobody_comes_back_before_they_are_told_to_or_later_than_in_a_minute(
    times: int, barren: int, retry: float, after: float, seed: int
) -> None:
    plan = Reconnect(5, seed)
    assert min(60, max(retry, after)) <= plan.wait(times, barren, retry, after) <= 60
    assert 1 <= plan.wait(1, 0, None, None) <= 1.2
    assert min(60, 2**barren) <= plan.wait(times, barren, None, None) <= min(60, 1.2 * 2**barren)
    assert plan.wait(times, barren, retry, after) == plan.wait(times, barren, retry, after)
