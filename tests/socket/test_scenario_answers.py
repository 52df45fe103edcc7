"""What the shipped scenarios rely on in the server's answers: tools that pause them, and the prompt cache."""

import time
from collections.abc import Iterator
from random import Random

import pytest
from msgspec.structs import replace

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive import network
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.prompts import Prompt, conversation, handbook, load
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import Kind, Outcome, StreamObservation
from tests.support.hostile import IDENTITY
from tests.support.reference import ReferenceServer, reference_server

PREFILL = 200_000  # ns for each token of a prompt


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(
        "--preset", "exact", "--ttft", "50ms", "--itl", "10ms", "--tokens", "40", "--prefill", f"{PREFILL // 1000}us"
    ) as running:
        yield running


def ask(server: ReferenceServer, prompt: Prompt, protocol: ProtocolName = "anthropic_messages") -> StreamObservation:
    site = Site.of(server.url, Target(protocol=protocol), RunClock.starting_at(time.time_ns()))
    person = WireClient(site)
    try:
        road = network.Link(network.find("direct"), 1)
        return person.stream(Question(prompt, Plan(), road, time.monotonic_ns(), IDENTITY)).observation
    finally:
        person.close()


@pytest.mark.parametrize("protocol", ["anthropic_messages", "plain_sse"])
def test_a_tool_that_the_server_runs_is_a_pause_as_long_as_its_run(
    server: ReferenceServer, protocol: ProtocolName
) -> None:
    seen = ask(server, Prompt((("user", "Will it rise?"),), tools=("forecast",)), protocol)
    assert (seen.outcome, seen.stop_reason) == (Outcome.COMPLETED, "end_turn")
    kinds = [chunk.kind for chunk in seen.chunks if chunk.kind in {Kind.TEXT, Kind.TOOL}]
    assert kinds[0] is Kind.TEXT
    assert Kind.TOOL in kinds
    assert kinds[-1] is Kind.TEXT
    assert seen.tool_pause is not None
    assert seen.tool_pause >= 200_000_000 + 50_000_000, "the tool's deadline, and the model's next start"
    assert seen.ended_at - seen.due_at > seen.tool_pause


def test_a_tool_that_the_client_is_to_run_ends_the_answer_with_its_call(server: ReferenceServer) -> None:
    seen = ask(server, Prompt((("user", "Will it rise?"),), tools=("forecast",)), "openai_chat")
    assert (seen.outcome, seen.stop_reason, seen.tool_pause) == (Outcome.COMPLETED, "tool_calls", None)
    assert [chunk.kind for chunk in seen.chunks if chunk.kind in {Kind.TEXT, Kind.TOOL}][-1] is Kind.TOOL


def test_the_second_who_asks_behind_a_marked_system_prompt_finds_it_in_the_cache(server: ReferenceServer) -> None:
    prompt = Prompt((("user", "How high is it at Crane Ford?"),), system=f"{handbook()} Thank you.", cached=True)
    first, second = ask(server, prompt), ask(server, prompt)
    assert first.cache_read_tokens == 0
    assert first.cache_write_tokens == second.cache_read_tokens
    assert second.cache_read_tokens is not None
    assert second.cache_read_tokens > 2_000
    assert second.cache_write_tokens == 0


def test_each_turn_of_a_conversation_finds_what_the_one_before_left_in_the_cache(server: ReferenceServer) -> None:
    system = f"{handbook()} Good luck."
    turns = [replace(turn, system=system) for turn in conversation(load("medium"), Random(1), (4, 4))]
    seen = [ask(server, turn) for turn in turns]
    assert [one.outcome for one in seen] == [Outcome.COMPLETED] * 4
    left = [(one.cache_read_tokens or 0) + (one.cache_write_tokens or 0) for one in seen]
    assert [one.cache_read_tokens for one in seen] == [0, *left[:-1]]
    assert left == sorted(set(left)), "each left more"
