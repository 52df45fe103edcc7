"""The server's own tools: each run ends with a result, and the model continues after it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from streamgauge.reference_server.model import tools
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.script import Script, write_script
from streamgauge.reference_server.model.settings import ModelSettings
from streamgauge.reference_server.model.steps import Step, ToolCall
from streamgauge.reference_server.model.tools import TOOLS, Tool, execute
from streamgauge.reference_server.model.turns import MAX_TOOL_ROUNDS, Turns
from tests.support.reference import ReferenceServer, counts, reference_server

PROMPT = "How high is the river?"


def run(name: str, **given: object) -> ToolCall:
    return asyncio.run(execute(ToolCall("1", name, given)))


def offered(*names: str) -> list[ToolCall]:
    return [tools.call(name, TOOLS[name].schema, PROMPT, client_side=False) for name in names]


def taken(turns: Turns) -> list[Step]:
    async def take() -> list[Step]:
        return [step async for _, step in turns.steps()]

    return asyncio.run(take())


def kinds(steps: list[Step]) -> list[str]:
    """The kinds of the steps, consecutive equal ones once."""
    return [
        step.kind for step, before in zip(steps, [None, *steps], strict=False) if not before or step.kind != before.kind
    ]


def model(tool_turns: int, asked: list[ModelInput] | None = None) -> Callable[[ModelInput], Script]:
    """A model that uses tools in this many turns. Its inputs are appended to `asked`."""

    def turn(ask: ModelInput) -> Script:
        if asked is not None:
            asked.append(ask)
        return write_script(ModelSettings(tools=tool_turns, tokens=(40, 40)), ask)

    return turn


def test_a_tool_gives_a_result_and_its_time() -> None:
    level = run("gauge_level", station="Passau")
    assert (level.result, level.failed) == ("4.87 m", False)
    assert level.seconds > 0
    assert run("convert", value=100, unit="ft", to="m").result == "30.48 m"


@pytest.mark.parametrize(
    ("name", "given", "result"),
    [
        ("gauge_level", {"station": "Zweibrücken"}, "the gauge at Zweibrücken has sent nothing since yesterday"),
        ("convert", {"value": 1, "unit": "m", "to": "fathom"}, "no conversion to fathom; there are m, cm, ft, in"),
        ("forecast", {"station": "Passau", "hours": 6}, "no result within 0.2 s"),
        ("gauge_level", {"station": "Atlantis"}, "Invalid enum value 'Atlantis' - at `$.station`"),
        ("gauge_level", {}, "Object missing required field `station`"),
        ("teleport", {}, "no tool called 'teleport'; there are gauge_level, convert, forecast"),
    ],
)
def test_an_error_in_a_tool_is_the_tools_result(name: str, given: dict[str, object], result: str) -> None:
    ended = run(name, **given)
    assert (ended.result, ended.failed) == (result, True)


def test_a_defect_of_a_tool_is_a_failed_result_without_details(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing(msgspec.Struct):
        pass

    async def broken(_: Nothing) -> str:
        raise RuntimeError("password=hunter2")

    monkeypatch.setitem(TOOLS, "broken", Tool("broken", Nothing, broken, 1))
    assert (run("broken").result, run("broken").failed) == ("the tool broke: RuntimeError", True)


def test_the_answer_pauses_for_a_tool_and_continues_after_it() -> None:
    asked: list[ModelInput] = []
    turns = Turns(model(1, asked), ModelInput(PROMPT, tools=offered("convert")))
    steps = taken(turns)
    assert kinds(steps) == ["text", "tool_input", "tool_start", "tool_end", "text"]
    (started,) = (step.tool for step in steps if step.kind == "tool_start")
    (ended,) = (step.tool for step in steps if step.kind == "tool_end")
    assert started is not None
    assert ended is not None
    assert started.id == ended.id
    assert msgspec.json.decode("".join(step.text for step in steps if step.kind == "tool_input")) == started.input
    assert ended.result
    assert asked[1].prompt == f"{PROMPT}\n{ended.result}"
    assert turns.script.stop_reason == "end_turn"


def test_a_tool_that_fails_does_not_end_the_answer() -> None:
    steps = taken(Turns(model(1), ModelInput(PROMPT, tools=offered("forecast"))))
    assert kinds(steps) == ["text", "tool_input", "tool_start", "tool_end", "text"]
    assert [step.tool.failed for step in steps if step.tool and step.kind == "tool_end"] == [True]


def test_after_the_last_round_the_model_is_offered_no_tool() -> None:
    asked: list[ModelInput] = []
    turns = Turns(model(100, asked), ModelInput(PROMPT, tools=offered("convert", "gauge_level")), max_rounds=3)
    steps = taken(turns)
    assert kinds(steps).count("tool_end") == 3
    assert steps[-1].kind == "text"
    assert turns.script.stop_reason == "end_turn"
    assert [len(ask.tools) for ask in asked] == [2, 2, 2, 0]
    ids = [step.tool.id for step in steps if step.tool and step.kind == "tool_start"]
    assert len(set(ids)) == 3


def test_the_token_limit_holds_for_all_turns_together() -> None:
    turns = Turns(model(2), ModelInput(PROMPT, limit=40, tools=offered("convert")))
    steps = taken(turns)
    assert sum(step.kind in {"text", "tool_input"} for step in steps) == 40
    assert turns.script.stop_reason == "max_tokens"


def test_a_call_that_the_limit_cuts_off_is_not_run() -> None:
    steps = taken(turns := Turns(model(1), ModelInput(PROMPT, limit=10, tools=offered("convert"))))
    assert kinds(steps) == ["text", "tool_input"]
    assert turns.script.stop_reason == "max_tokens"


def test_a_call_of_the_clients_tool_ends_the_answer() -> None:
    call = tools.call("theirs", {"type": "object"}, PROMPT, client_side=True)
    steps = taken(turns := Turns(model(1), ModelInput(PROMPT, tools=[call])))
    assert kinds(steps) == ["text", "tool_input"]
    assert turns.script.stop_reason == "tool_use"


def test_closing_an_answer_stops_its_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []

    async def endless(_: tools.Forecast) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append(True)
        return ""

    monkeypatch.setitem(TOOLS, "forecast", Tool("forecast", tools.Forecast, endless, 600))

    async def leave() -> None:
        steps = Turns(model(1), ModelInput(PROMPT, tools=offered("forecast"))).steps()
        while (await anext(steps))[1].kind != "tool_start":
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):  # cancels at the first wait, which is in the tool
                await anext(steps)

    asyncio.run(leave())
    assert stopped == [True]


# In a stream of the real server


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    quick = ("--ttft", "1ms", "--itl", "1ms", "--spread", "0", "--pauses", "0", "--tokens", "30", "--seed", "1")
    with reference_server(*quick) as running:
        yield running


def events(server: ReferenceServer, *names: str, tool_turns: int) -> list[tuple[str, str]]:
    """Name and data of each event of an answer with these tools on offer."""
    body = {"messages": [{"role": "user", "content": PROMPT}], "tools": names}
    answer = httpx.post(f"{server.url}/chat/stream", json=body, headers={"x-gauge-tools": str(tool_turns)}, timeout=20)
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
    with httpx.stream("POST", f"{server.url}/chat/stream", json=body, headers={"x-gauge-tools": "5"}) as answer:
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
    httpx.post(f"{server.url}/chat/stream", json=body, headers={"x-gauge-flush": flush})
    row = server.truth()[-1]
    assert row["tokens"] == len(row["sent"]) > 30
    after = counts(server.url)
    for name in ("reference_tokens_generated_total", "reference_tokens_delivered_total"):
        assert after[name] - before[name] == row["tokens"]
