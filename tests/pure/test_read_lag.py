"""Which reads of several chunks are the generator's own fault, and which the server or a proxy packed."""

from array import array

import pytest

from streamgauge.harness.drive.protocols import Answer
from streamgauge.harness.drive.reading.body import DecodedBody
from streamgauge.harness.drive.reading.timing import Times, timed
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.native import library
from streamgauge.harness.record.clock import RunClock

CLOCK = RunClock(0, 10**18)
TOKEN = 10  # bytes


@pytest.fixture(params=[pytest.param("compiled", marks=pytest.mark.compiled), "python"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "python":
        monkeypatch.setattr(library, "LIBRARY", None)
    elif library.LIBRARY is None:
        pytest.skip("the package was installed without a compiler")


def saturated(*reads: tuple[float, int, float]) -> int:
    """Of these reads (arrival of the last chunk, chunks, lag; ms), how many count against the generator."""
    end, made = 0, []
    for at, chunks, lag in reads:
        end += chunks * TOKEN
        arrived = int(at * 1e6)
        made.append(Read(end, CLOCK.offset + arrived, arrived + int(lag * 1e6)))
    events = end // TOKEN
    numbers = array("q", [TOKEN] * events), array("q", [4] * events)
    decoded = DecodedBody(numbers[0], bytes(events), numbers[1], Answer(), ended=True, fault=None)
    fields, _ = timed(Times(CLOCK, Reads.of(*made), array("q"), None), decoded, None)
    assert fields["coalesced_reads"] == sum(chunks > 1 for _, chunks, _ in reads)
    found: int = fields["saturated_reads"]
    return found


FIRST = (100, 1, 0.1)


@pytest.mark.parametrize("lag", [0.1, 0.6, 2.0, 4.9])
def test_a_burst_that_a_proxy_held_back_is_not_the_generator_s(lag: float) -> None:
    assert saturated(FIRST, (600, 25, lag)) == 0  # 20 ms a token
    assert saturated(FIRST, (600, 25, lag), (600.3, 40, lag), (600.9, 30, lag)) == 0  # a burst in several reads
    assert saturated((600, 25, lag)) == 0  # the whole answer was held back


@pytest.mark.parametrize(
    "read",
    [
        (160, 3, 5.1),  # tokens each 20 ms, read when the reader came back
        (160, 3, 19.0),
        (117.5, 10, 0.6),  # a fast model: 1.75 ms a token
    ],
)
def test_a_read_that_was_late_by_a_part_of_the_gap_between_tokens_is(read: tuple[float, int, float]) -> None:
    assert saturated(FIRST, read) == 1


def test_a_first_read_counts_only_if_it_was_very_late() -> None:
    assert saturated((600, 25, 11.0)) == 1


def test_a_late_read_of_one_chunk_lost_nothing() -> None:
    assert saturated(FIRST, (120, 1, 15.0)) == 0
