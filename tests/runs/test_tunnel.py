"""A link that is gone for a while, and a server that goes on: whose time it is, and what the person sees of it."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import gevent
import pytest

from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.network import Link
from streamgauge.harness.record.observation import CONTENT, Outcome, StreamObservation
from tests.support.hostile import IDENTITY, client
from tests.support.reference import ReferenceServer, counts, reference_server

pytestmark = pytest.mark.timing

TOKENS = 60


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--ttft", "100ms", "--itl", "20ms", "--tokens", str(TOKENS)) as running:
        yield running


def gone(begins: float, lasts: float, name: str = "wifi") -> Link:
    """A link with a tunnel; seconds."""
    return Link(network.find(name), 1, (round(begins * 1e9), round(lasts * 1e9)))


def live(server: ReferenceServer, link: Link, **settings: Any) -> StreamObservation:
    person = client(server.url, **settings)
    question = Question(prompts.ask("Hello?"), Plan(), link, time.monotonic_ns(), IDENTITY)
    seen = person.stream(question).observation
    person.close()
    return seen


def longest(times: list[int]) -> float:
    return max(after - before for before, after in pairwise(times)) / 1e9


PATIENCE = {"idle": "500ms", "first_token": "500ms"}
LIVED: dict[str, tuple[Link, dict[str, Any]]] = {
    "short": (gone(0.6, 0.8), {}),
    "before the first token": (gone(0.05, 1.2), {"timeouts": PATIENCE}),
    "in the answer": (gone(0.6, 1.2), {"timeouts": PATIENCE}),
    "silent": (gone(0.3, 0.5), {"timeouts": {"idle": "500ms"}, "headers": {"x-gauge-fault": "silence@20"}}),
}


@pytest.fixture(scope="module")
def seen(server: ReferenceServer) -> dict[str, StreamObservation]:
    """One stream through each tunnel, all at once."""
    streams = {name: gevent.spawn(live, server, link, **settings) for name, (link, settings) in LIVED.items()}
    gevent.joinall(streams.values(), raise_error=True)
    return {name: stream.value for name, stream in streams.items()}


def test_the_answer_goes_on_after_the_tunnel_with_all_delayed_data(seen: dict[str, StreamObservation]) -> None:
    short = seen["short"]
    assert (short.outcome, short.content_chunks) == (Outcome.COMPLETED, TOKENS)
    assert 0.8 <= longest([one.perceived_at for one in short.chunks if one.kind in CONTENT]) < 1


@pytest.mark.parametrize("name", ["before the first token", "in the answer"])
def test_a_tunnel_longer_than_a_timeout_is_not_the_servers_silence(
    seen: dict[str, StreamObservation], name: str
) -> None:
    assert (seen[name].outcome, seen[name].content_chunks) == (Outcome.COMPLETED, TOKENS)


def test_a_silent_server_still_times_out_on_a_link_with_tunnels(seen: dict[str, StreamObservation]) -> None:
    assert (seen["silent"].outcome, seen["silent"].detail) == (Outcome.TIMED_OUT, "idle: nothing arrived for 0.5 s")


def test_the_server_has_completed_the_same_streams(seen: dict[str, StreamObservation], server: ReferenceServer) -> None:
    completed = sum(each.outcome is Outcome.COMPLETED for each in seen.values())
    assert counts(server.url)["reference_streams_ended_total:completed"] == completed == 3


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
