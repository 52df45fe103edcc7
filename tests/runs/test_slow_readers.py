"""Readers who hardly read: the server feels them, and says so."""

import json
import time
import urllib.request
from collections.abc import Iterator

import gevent
import pytest

from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.hostile import IDENTITY, client
from tests.support.reference import ReferenceServer, counts, reference_server

pytestmark = pytest.mark.timing

SECONDS = 2  # that a reader looks at the answer before they leave


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


@pytest.fixture(scope="module")
def seen(server: ReferenceServer) -> dict[str, StreamObservation]:
    """A reader on each link, both at once."""
    readers = {
        link: gevent.spawn(read, server, link, Plan(leave_after=SECONDS * 10**9)) for link in ("trickle", "direct")
    }
    gevent.joinall(readers.values(), raise_error=True)
    return {link: reader.value for link, reader in readers.items()}


def pauses(server: ReferenceServer, stream: StreamObservation) -> int:
    """How often the server held back, as it reports it of this stream."""
    server.truth()  # waits until it has ended
    with urllib.request.urlopen(f"{server.url}/streams/{stream.request_id}") as response:
        count: int = json.load(response)["pauses"]["count"]
    return count


def test_a_reader_at_two_kilobytes_a_second_makes_the_server_hold_back(
    seen: dict[str, StreamObservation], server: ReferenceServer
) -> None:
    slow = seen["trickle"]
    assert (slow.outcome, slow.http_status) == (Outcome.CANCELLED, 200)
    # A segment of the link's may be on its way besides, and what it had saved when it was idle.
    assert 0 < slow.body_bytes <= 2_000 * (SECONDS + 1) + 2 * 1_448
    (row,) = [row for row in server.truth() if row["id"] == slow.request_id]
    assert row["outcome"] == "disconnected"
    assert row["tokens"] < 2_000, "what the kernels hold, and not what the model had time for"
    assert counts(server.url)["reference_streams_paused_total"] == pauses(server, slow) > 0


def test_a_reader_on_a_fast_link_does_not_make_the_server_hold_back(
    seen: dict[str, StreamObservation], server: ReferenceServer
) -> None:
    assert pauses(server, seen["direct"]) == 0
    assert seen["direct"].content_chunks > 1_000
