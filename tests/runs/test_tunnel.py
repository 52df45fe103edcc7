"""A link that is gone for a while, and a server that goes on: whose time it is, and what the person sees of it."""

import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import gevent
import pytest

from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.network import Link
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.hostile import IDENTITY, client
from tests.support.reference import ReferenceServer, counts

pytestmark = pytest.mark.timing

TOKENS = 60
ANSWER = {"x-gauge-ttft": "100ms", "x-gauge-itl": "20ms", "x-gauge-tokens": str(TOKENS)}


def gone(begins: float, lasts: float, name: str = "wifi") -> Link:
    """A link with a tunnel; seconds."""
    return Link(network.find(name), 1, (round(begins * 1e9), round(lasts * 1e9)))


def live(server: ReferenceServer, link: Link, fault: dict[str, str], **timeouts: str) -> StreamObservation:
    person = client(server.url, headers=ANSWER | fault, timeouts=timeouts)
    question = Question(prompts.ask("Hello?"), Plan(), link, time.monotonic_ns(), IDENTITY)
    seen = person.stream(question).observation
    person.close()
    return seen


def longest(times: list[int]) -> float:
    return max(after - before for before, after in pairwise(times)) / 1e9


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


@pytest.fixture(scope="module")
def seen(server: ReferenceServer) -> Seen:
    """One stream through each tunnel, all at once."""
    counter = "reference_streams_ended_total:completed"
    before = counts(server.url).get(counter, 0)
    streams = {
        name: gevent.spawn(live, server, link, fault, **timeouts) for name, (link, fault, timeouts) in LIVED.items()
    }
    gevent.joinall(streams.values(), raise_error=True)
    return Seen({name: stream.value for name, stream in streams.items()}, counts(server.url)[counter] - before)


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


@pytest.mark.parametrize("name", [*network.NETWORKS, "recorded"])
def test_nothing_gets_through_a_tunnel_on_any_link(name: str, tmp_path: Path) -> None:
    trace = tmp_path / "a.trace"
    trace.write_text("".join(f"{stamp}\n" for stamp in range(1, 1_001)))
    link = gone(1, 2, f"trace:{trace}" if name == "recorded" else name)
    begins, ends = 1_000_000_000, 3_000_000_000
    assert link.window is not None
    assert link.take(begins + 1)[0] == 0
    assert link.take(begins + 1)[1] >= ends
    assert link.deliver(begins + 1, 100) >= ends
    assert link.after(begins - 1_000, 5_000) >= ends + 4_000
