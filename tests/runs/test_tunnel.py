"""A link that is gone for a while, and a server that goes on: whose time it is, and what the person sees of it."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

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


def test_the_answer_goes_on_after_the_tunnel_with_all_delayed_data(server: ReferenceServer) -> None:
    before = counts(server.url)
    seen = live(server, gone(0.6, 0.8))
    assert (seen.outcome, seen.content_chunks) == (Outcome.COMPLETED, TOKENS)
    assert 0.8 <= longest([one.perceived_at for one in seen.chunks if one.kind in CONTENT]) < 1
    after = counts(server.url)
    assert after["reference_streams_ended_total:completed"] == before["reference_streams_ended_total:completed"] + 1


@pytest.mark.parametrize("begins", [0.05, 0.6], ids=["before the first token", "in the answer"])
def test_a_tunnel_longer_than_a_timeout_is_not_the_servers_silence(server: ReferenceServer, begins: float) -> None:
    seen = live(server, gone(begins, 1.2), timeouts={"idle": "500ms", "first_token": "500ms"})
    assert (seen.outcome, seen.content_chunks) == (Outcome.COMPLETED, TOKENS)


def test_a_silent_server_still_times_out_on_a_link_with_tunnels(server: ReferenceServer) -> None:
    silent = {"x-gauge-fault": "silence@20"}
    seen = live(server, gone(0.3, 0.5), timeouts={"idle": "500ms"}, headers=silent)
    assert (seen.outcome, seen.detail) == (Outcome.TIMED_OUT, "idle: nothing arrived for 0.5 s")


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
