"""Links that are gone for a while, or hardly carry anything: whose time it is, and what person and server see of it."""

import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import gevent
import pytest

from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.network import Link
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.hostile import IDENTITY, client
from tests.support.links import gone
from tests.support.reference import ReferenceServer, counts, reference_server

pytestmark = pytest.mark.timing

# Tunnels

TOKENS = 60
ANSWER = {"x-gauge-ttft": "100ms", "x-gauge-itl": "20ms", "x-gauge-tokens": str(TOKENS)}
PATIENCE = {"idle": "500ms", "first_token": "500ms"}
LIVED: dict[str, tuple[Link, dict[str, str], dict[str, str]]] = {  # the link, the server's fault, timeouts
    "short": (gone(0.6, 0.8), {}, {}),
    "before the first token": (gone(0.05, 1.2), {}, PATIENCE),
    "in the answer": (gone(0.6, 1.2), {}, PATIENCE),
    "silent": (gone(0.3, 0.5), {"x-gauge-fault": "silence@20"}, {"idle": "500ms"}),
}


@dataclass(frozen=True)
class Seen:
    streams: dict[str, StreamObservation]
    completed: float  # as the server counts them


def ride(server: ReferenceServer, link: Link, fault: dict[str, str], **timeouts: str) -> StreamObservation:
    person = client(server.url, headers=ANSWER | fault, timeouts=timeouts)
    question = Question(prompts.ask("Hello?"), Plan(), link, time.monotonic_ns(), IDENTITY)
    seen = person.stream(question).observation
    person.close()
    return seen


def all_tunnels(server: ReferenceServer) -> Seen:
    counter = "reference_streams_ended_total:completed"
    before = counts(server.url).get(counter, 0)
    streams = {
        name: gevent.spawn(ride, server, link, fault, **timeouts) for name, (link, fault, timeouts) in LIVED.items()
    }
    gevent.joinall(streams.values(), raise_error=True)
    return Seen({name: stream.value for name, stream in streams.items()}, counts(server.url)[counter] - before)


def longest(times: list[int]) -> float:
    return max(after - before for before, after in pairwise(times)) / 1e9


# Readers who hardly read

SECONDS = 2  # that a reader looks at the answer before they leave


@pytest.fixture(scope="module")
def flooding() -> Iterator[ReferenceServer]:
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


def all_readers(server: ReferenceServer) -> dict[str, StreamObservation]:
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


# All of them at once, for they mostly wait


@dataclass(frozen=True)
class Begun:
    riding: gevent.Greenlet  # of `all_tunnels`
    reading: gevent.Greenlet  # of `all_readers`


@pytest.fixture(scope="module")
def begun(server: ReferenceServer, flooding: ReferenceServer) -> Begun:
    return Begun(gevent.spawn(all_tunnels, server), gevent.spawn(all_readers, flooding))


@pytest.fixture(scope="module")
def seen(begun: Begun) -> Seen:
    tunnels: Seen = begun.riding.get()
    return tunnels


@pytest.fixture(scope="module")
def readers(begun: Begun) -> dict[str, StreamObservation]:
    by_link: dict[str, StreamObservation] = begun.reading.get()
    return by_link


def test_the_answer_goes_on_after_the_tunnel_with_all_delayed_data(seen: Seen) -> None:
    short = seen.streams["short"]
    assert (short.outcome, short.content_chunks) == (Outcome.COMPLETED, TOKENS)
    assert 0.8 <= longest([one.perceived_at for one in short.chunks if one.kind in CONTENT]) < 1


@pytest.mark.parametrize("name", ["before the first token", "in the answer"])
def test_a_tunnel_longer_than_a_timeout_is_not_the_servers_silence(seen: Seen, name: str) -> None:
    long = seen.streams[name]
    assert (long.outcome, long.content_chunks) == (Outcome.COMPLETED, TOKENS)


def test_a_silent_server_still_times_out_on_a_link_with_tunnels(seen: Seen) -> None:
    silent = seen.streams["silent"]
    assert (silent.outcome, silent.detail) == (Outcome.TIMED_OUT, "idle: nothing arrived for 0.5 s")


def test_the_server_has_completed_the_same_streams(seen: Seen) -> None:
    assert seen.completed == 3


def test_a_reader_at_two_kilobytes_a_second_makes_the_server_hold_back(
    readers: dict[str, StreamObservation], flooding: ReferenceServer
) -> None:
    slow = readers["trickle"]
    assert (slow.outcome, slow.http_status) == (Outcome.CANCELLED, 200)
    # A segment of the link's may be on its way besides, and what it had saved when it was idle.
    assert 0 < slow.body_bytes <= 2_000 * (SECONDS + 1) + 2 * 1_448
    (row,) = [row for row in flooding.truth() if row["id"] == slow.request_id]
    assert row["outcome"] == "disconnected"
    assert row["tokens"] < 2_000, "what the kernels hold, and not what the model had time for"
    assert counts(flooding.url)["reference_streams_paused_total"] == pauses(flooding, slow) > 0


def test_a_reader_on_a_fast_link_does_not_make_the_server_hold_back(
    readers: dict[str, StreamObservation], flooding: ReferenceServer
) -> None:
    assert pauses(flooding, readers["direct"]) == 0
    assert readers["direct"].content_chunks > 1_000
