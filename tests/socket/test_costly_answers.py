"""What becomes of an answer that costs us far more than its bytes: it ends at a limit, and what came before is kept."""

import time
from itertools import pairwise

import gevent
import pytest

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.reading import body
from streamgauge.harness.drive.wire import exchange
from streamgauge.harness.record.observation import Outcome
from tests.support.hostile import CHUNKED, DONE, HEAD, UNTIL_CLOSED, asked, chunk, content, observe, scripted, token
from tests.support.stacks import START, ask, delta, person

pytestmark = pytest.mark.usefixtures("reader")
LINES = "the answer has more than {:,} line ends"
EVENTS = "more than {:,} events"
CHUNKS = "the answer came in more than 500,000 HTTP chunks"
A_TENTH = 25_000  # of the limit of events

FRAMING = "more than 8,000,000 bytes of HTTP headers, chunk framing and TLS around the answer"


@pytest.fixture
def a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of a tenth: reaching the true ones costs a second of a core, and five with a client's library."""
    monkeypatch.setattr(body, "_MOST_EVENTS", A_TENTH)
    monkeypatch.setattr(exchange, "_MOST_LINE_ENDS", 4 * A_TENTH)


def repeated(unit: bytes, size: int) -> bytes:
    return unit * (size // len(unit))


def ends(flood: bytes, detail: str) -> None:
    with scripted(asked(UNTIL_CLOSED, token(1), token(2), flood, DONE)) as server:
        seen = observe(server.url)
    assert seen.outcome is Outcome.MALFORMED
    assert seen.detail.startswith(detail)
    assert content(seen) == 2


@pytest.mark.usefixtures("a_tenth")
@pytest.mark.parametrize(
    ("unit", "size", "detail"),
    [
        pytest.param(b"\n", 700_000, LINES, id="blank lines"),
        pytest.param(b"\r", 700_000, LINES, id="blank lines of CR"),
        pytest.param(b"\r\n", 700_000, LINES, id="blank lines of CRLF"),
        pytest.param(b"id\n\n", 700_000, LINES, id="ids without data"),
        pytest.param(b":\n\n", 100_000, EVENTS, id="comments between blank lines"),
        pytest.param(b"data\n\n", 180_000, EVENTS, id="events without content"),
    ],
)
def test_a_costly_body_of_any_kind_ends_at_a_limit(unit: bytes, size: int, detail: str) -> None:
    ends(repeated(unit, size), detail.format(4 * A_TENTH if detail is LINES else A_TENTH))


@pytest.mark.parametrize(
    ("flood", "detail"),
    [
        pytest.param(repeated(b"\n\r\n", 2_000_000), LINES.format(1_000_000), id="blank lines of several kinds"),
        pytest.param(repeated(b":\n", 700_000), EVENTS.format(250_000), id="comments"),
        pytest.param(repeated(b"x\n", 2_100_000), "an event of more than 1,000,000 bytes", id="unknown fields"),
        pytest.param(repeated(b"data\n", 1_500_000), "an event of more than 1,000,000 bytes", id="lines of data"),
        pytest.param(b"x" * 1_100_000, "an event of more than 1,000,000 bytes", id="a line without an end"),
    ],
)
def test_a_costly_body_ends_at_a_limit_and_keeps_the_tokens_before_it(flood: bytes, detail: str) -> None:
    ends(flood, detail)


@pytest.mark.parametrize(
    ("flood", "detail"),
    [
        pytest.param(repeated(b"1\r\n:\r\n", 3_100_000), CHUNKS, id="chunks of one byte"),
        pytest.param(repeated(b"1;%b\r\n:\r\n" % (b"e" * 100_000), 8_600_000), FRAMING, id="long chunk extensions"),
        pytest.param(repeated(b"%b1\r\n:\r\n" % (b"0" * 100_000), 8_600_000), FRAMING, id="chunk sizes of many zeros"),
    ],
)
def test_costly_framing_ends_at_a_limit_and_keeps_the_tokens_before_it(flood: bytes, detail: str) -> None:
    with scripted(asked(CHUNKED, chunk(token(1)), chunk(token(2)), flood)) as server:
        seen = observe(server.url)
    assert (seen.outcome, seen.detail, content(seen)) == (Outcome.MALFORMED, detail, 2)


KINDS = [
    pytest.param(b"\n\r\n", 2_000_000, LINES, id="blank lines of several kinds"),
    pytest.param(b":\n", 700_000, EVENTS, id="comments"),
    pytest.param(b"x", 1_100_000, "an event of more than 1,000,000 bytes", id="a line without an end"),
]


@pytest.mark.parametrize(("unit", "size", "detail"), KINDS)
def test_httpx_meets_the_same_limits_and_gets_what_arrived_in_parts(unit: bytes, size: int, detail: str) -> None:
    limit = 1_000_000 if detail is LINES else 250_000
    meets_a_limit("httpx", repeated(unit, size), detail.format(limit))


@pytest.mark.usefixtures("a_tenth")
@pytest.mark.parametrize("reader", ["python"], indirect=True)  # which reads for httpx, and the package through it
@pytest.mark.parametrize(("unit", "size", "detail"), KINDS)
def test_the_anthropic_package_meets_the_same_limits(unit: bytes, size: int, detail: str) -> None:
    limit = 4 * A_TENTH if detail is LINES else A_TENTH
    meets_a_limit("anthropic", repeated(unit, size if unit == b"x" else size // 10), detail.format(limit))


def meets_a_limit(name: str, flood: bytes, detail: str) -> None:
    polls: list[float] = []  # CPU time of this thread before each poll of the loop
    with scripted(asked(UNTIL_CLOSED, START, delta(), flood)) as server:
        who = person(name, server.url)
        watcher = gevent.get_hub().loop.prepare()
        watcher.start(lambda: polls.append(time.thread_time()))
        seen = ask(who)
        watcher.stop()
        watcher.close()
        who.close()
    assert seen.outcome is Outcome.MALFORMED
    assert seen.detail.startswith(detail)
    assert content(seen) == 1
    assert max(later - earlier for earlier, later in pairwise(polls)) < 0.5, "seconds"


def test_more_header_fields_than_any_server_sends_are_malformed() -> None:
    with scripted(asked(HEAD + b"a: b\r\n" * 600 + b"\r\n")) as server:
        seen = observe(server.url)
    assert (seen.outcome, seen.detail) == (Outcome.MALFORMED, "the answer has more than 500 header fields")


def test_a_person_who_counts_chunks_meets_the_same_limit() -> None:
    with scripted(asked(UNTIL_CLOSED, token(1), repeated(b"\n\r\n", 2_000_000))) as server:
        seen = observe(server.url, Plan(leave_after_chunks=2))
    assert (seen.outcome, seen.detail, content(seen)) == (Outcome.MALFORMED, LINES.format(1_000_000), 1)


@pytest.mark.parametrize("zeros", [1, 40, 32_000, 100_000])
def test_a_chunk_size_with_leading_zeros_is_a_chunk_size(zeros: int) -> None:
    sizes = b"".join(b"0" * zeros + chunk(token(number)) for number in range(3))
    with scripted(asked(CHUNKED, chunk(token(9)), sizes, b"0" * zeros + chunk(DONE), b"0\r\n\r\n")) as server:
        seen = observe(server.url)
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 4)
