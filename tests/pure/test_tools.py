"""The server's own tools: each run ends in a result, and the model's turns go on around them."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from streamgauge.reference_server.model import tools
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.script import Script, write_script
from streamgauge.reference_server.model.settings import ModelSettings
from streamgauge.reference_server.model.steps import Step, ToolCall
from streamgauge.reference_server.model.tools import TOOLS, Tool, execute
from streamgauge.reference_server.model.turns import Turns

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
