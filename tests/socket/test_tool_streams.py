"""The server's own tools over a socket: what a plain client sees of them, and when."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from streamgauge.reference_server.model.tools import TOOLS
from streamgauge.reference_server.model.turns import MAX_TOOL_ROUNDS
from tests.support import patient
from tests.support.reference import ReferenceServer, counts, reference_server

PROMPT = "How high is the river?"

# In a stream of the real server


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    quick = ("--ttft", "1ms", "--itl", "1ms", "--spread", "0", "--pauses", "0", "--tokens", "30", "--seed", "1")
    with reference_server(*quick) as running:
        yield running


def events(server: ReferenceServer, *names: str, tool_turns: int) -> list[tuple[str, str]]:
    """Name and data of each event of an answer with these tools on offer."""
    body = {"messages": [{"role": "user", "content": PROMPT}], "tools": names}
    answer = patient.post(f"{server.url}/chat/stream", json=body, headers={"x-gauge-tools": str(tool_turns)})
    blocks = [block.split("\n", 1) for block in answer.text.removesuffix("\n\n").split("\n\n")]
    named = [block if block[0].startswith("event:") else ["event: ", "\n".join(block)] for block in blocks]
    return [(name.removeprefix("event: "), data.removeprefix("data: ")) for name, data in named]


def test_a_plain_stream_says_when_a_tool_starts_and_ends(server: ReferenceServer) -> None:
    seen = events(server, "convert", tool_turns=1)
    names = [name for name, _ in seen]
    start = names.index("tool_start")
    assert names[start : start + 2] == ["tool_start", "tool_end"]
    started, ended = (json.loads(data) for _, data in seen[start : start + 2])
    assert started.keys() == {"id", "name", "input"}
    assert started["input"].keys() == {"value", "unit", "to"}
    assert ended.keys() == {"id", "name", "result", "failed", "seconds"}
    assert started["id"] == ended["id"]
    assert set(names[:start]) == set(names[start + 2 :]) == {""}
    assert seen[-1][1] == "[DONE]"


def test_a_stream_continues_after_failed_tools_until_the_last_round(server: ReferenceServer) -> None:
    seen = events(server, "forecast", tool_turns=100)
    ended: list[dict[str, Any]] = [json.loads(data) for name, data in seen if name == "tool_end"]
    assert [end["failed"] for end in ended] == [True] * MAX_TOOL_ROUNDS
    assert all(end["seconds"] >= TOOLS["forecast"].seconds for end in ended)
    assert json.loads(seen[-2][1])["stop_reason"] == "end_turn"


def test_a_client_that_leaves_while_a_tool_runs_is_noticed(server: ReferenceServer) -> None:
    body = {"messages": [{"role": "user", "content": PROMPT}], "tools": ["forecast"]}
    with patient.stream("POST", f"{server.url}/chat/stream", json=body, headers={"x-gauge-tools": "5"}) as answer:
        assert any("tool_start" in line for line in answer.iter_lines())
    row = server.truth()[-1]
    assert row["outcome"] == "disconnected"
    assert row["tokens"] < 30


@pytest.mark.parametrize("flush", ["token", "sentence"])
def test_the_tokens_of_a_tools_input_count_as_delivered_with_the_tool_start(
    server: ReferenceServer, flush: str
) -> None:
    before = counts(server.url)
    body = {"messages": [{"role": "user", "content": PROMPT}], "tools": ["convert"]}
    patient.post(f"{server.url}/chat/stream", json=body, headers={"x-gauge-flush": flush})
    row = server.truth()[-1]
    assert row["tokens"] == len(row["sent"]) > 30
    after = counts(server.url)
    for name in ("reference_tokens_generated_total", "reference_tokens_delivered_total"):
        assert after[name] - before[name] == row["tokens"]
