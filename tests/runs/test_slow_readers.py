"""Readers who hardly read: the server feels them, and says so."""

import time
from collections.abc import Iterator

import pytest

from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import IDENTITY, client
from tests.support.reference import ReferenceServer, counts, reference_server

pytestmark = pytest.mark.timing

SECONDS = 3  # that a reader looks at the answer before they leave
PAUSES, PAUSED = "reference_streams_paused_total", "reference_streams_paused_seconds_total"


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    """With the send buffer that it has by default, and an answer of some 200 KB a second for a minute."""
    with reference_server("--preset", "exact", "--ttft", "0ms", "--itl", "500us", "--tokens", "99999") as running:
        yield running


def read(server: ReferenceServer, link: str, plan: Plan) -> StreamObservation:
    person = client(server.url, protocol="anthropic_messages")
    try:
        road = network.Link(network.find(link), 1)
        prompt = prompts.Prompt((("user", "?"),), max_tokens=99_999)
        return person.stream(Question(prompt, plan, road, time.monotonic_ns(), IDENTITY)).observation
    finally:
        person.close()


def test_a_reader_at_two_kilobytes_a_second_makes_the_server_hold_back(server: ReferenceServer) -> None:
    before = counts(server.url)
    seen = read(server, "trickle", Plan(leave_after=SECONDS * 10**9))
    after = counts(server.url)
    assert after[PAUSES] > before[PAUSES]
    assert (seen.outcome, seen.http_status) == (Outcome.CANCELLED, 200)
    # A segment of the link's may be on its way besides, and what it had saved when it was idle.
    assert 0 < seen.body_bytes <= 2_000 * (SECONDS + 1) + 2 * 1_448
    (row,) = [row for row in server.truth() if row["id"] == seen.request_id]
    assert row["outcome"] == "disconnected"
    assert row["tokens"] < 2_000, "what the kernels hold, and not what the model had time for"


def test_a_reader_on_a_fast_link_does_not_make_the_server_hold_back(server: ReferenceServer) -> None:
    before = counts(server.url)
    seen = read(server, "direct", Plan(leave_after=SECONDS * 10**9))
    assert counts(server.url)[PAUSES] == before[PAUSES]
    assert seen.content_chunks > 1_000
