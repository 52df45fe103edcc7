"""The server's own tools, and the loop that runs them in the middle of an answer: pause, execute, resume.

A tool is an ordinary coroutine function with a deadline. Whatever goes wrong in it (nonsense as its input, an error, no
result in time) becomes a failed result that the model goes on from; it never ends the stream. The loop knows no wire
format: it hands on the model's steps, with a `tool_start` and a `tool_end` around each run.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Any, Literal

import msgspec

from streamgauge.reference_server.model import Ask, Plan, Step, ToolCall
from streamgauge.reference_server.samples import sample

MAX_ITERATIONS = 5  # rounds of tools in one answer; after them the model answers with what it has


class ToolFailed(Exception):
    """A tool could not do what it was asked; the message is for the model, and so for the person."""


class GaugeLevel(msgspec.Struct):
    """The water level at a station, in metres above its gauge's zero."""

    station: Literal["Höfn", "Passau", "Wehr Nord", "Zweibrücken"]


class Convert(msgspec.Struct):
    """A length from one unit to another."""

    value: Annotated[float, msgspec.Meta(ge=0, le=10_000)]
    unit: Literal["m", "cm", "ft", "in"]
    to: Literal["m", "cm", "ft", "in", "fathom"]


class Forecast(msgspec.Struct):
    """The level to expect at a station. The service behind it is never there: this tool shows a deadline."""

    station: str
    hours: Annotated[int, msgspec.Meta(ge=1, le=72)]


_LEVELS = {"Höfn": 1.42, "Passau": 4.87, "Wehr Nord": 2.05}
_METRES = {"m": 1.0, "cm": 0.01, "ft": 0.3048, "in": 0.0254}


async def _gauge_level(asked: GaugeLevel) -> str:
    await asyncio.sleep(0.02)  # as long as a look into a near database takes
    if asked.station not in _LEVELS:
        raise ToolFailed(f"the gauge at {asked.station} has sent nothing since yesterday")
    return f"{_LEVELS[asked.station]} m"


async def _convert(asked: Convert) -> str:
    if asked.to not in _METRES:
        raise ToolFailed(f"no conversion to {asked.to}; there are {', '.join(_METRES)}")
    return f"{asked.value * _METRES[asked.unit] / _METRES[asked.to]:g} {asked.to}"


async def _forecast(asked: Forecast) -> str:
    await asyncio.Event().wait()  # for an answer that never comes
    return f"no change at {asked.station}"


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    input: type[msgspec.Struct]  # its docstring is the tool's description, its fields are the schema
    run: Callable[[Any], Awaitable[str]]
    seconds: float  # how long a run may take

    @property
    def description(self) -> str:
        return self.input.__doc__ or ""

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the input, as a model is told it."""
        _, components = msgspec.json.schema_components([self.input])
        schema: dict[str, Any] = components[self.input.__name__]
        return schema


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("gauge_level", GaugeLevel, _gauge_level, 1),
        Tool("convert", Convert, _convert, 1),
        Tool("forecast", Forecast, _forecast, 0.2),
    )
}


def call(name: str, schema: Any, prompt: str, *, client_side: bool) -> ToolCall:
    """A call of this tool as the model might make it; the same schema and prompt give the same input."""
    made = sample(schema, Random(f"{name}\0{prompt}"))
    return ToolCall(_id(), name, made if isinstance(made, dict) else {}, client_side=client_side)


async def execute(call: ToolCall) -> ToolCall:
    """The call with its result, which is what went wrong if it `failed`; and with the seconds that it took."""
    began = time.monotonic()
    result, failed = await _outcome(call)
    return replace(call, result=result, failed=failed, seconds=round(time.monotonic() - began, 6))


async def _outcome(call: ToolCall) -> tuple[str, bool]:
    tool = TOOLS.get(call.name)
    if tool is None:
        return f"no tool called {call.name!r}; there are {', '.join(TOOLS)}", True
    try:
        asked = msgspec.convert(call.input, tool.input)
        async with asyncio.timeout(tool.seconds):
            return await tool.run(asked), False
    except (ToolFailed, msgspec.ValidationError) as fault:
        return str(fault), True
    except TimeoutError:
        return f"no result within {tool.seconds:g} s", True
    except Exception as fault:  # noqa: BLE001 - a tool's defect is the tool's failure, whatever it is; the stream goes on
        return f"the tool broke: {type(fault).__name__}", True


class Turns:
    """An answer of several turns of the model, with the server's tools run in between.

    `turn` is one turn: it ends with its answer or with calls of tools. A call of one of the client's tools ends the
    answer. `plan` is the turn that is under way, and at the end the one that ended the answer.
    """

    def __init__(self, turn: Callable[[Ask], Plan], ask: Ask, max_iterations: int = MAX_ITERATIONS) -> None:
        self.plan = turn(ask)
        self._turn = turn
        self._ask = ask
        self._max_iterations = max_iterations

    async def steps(self) -> AsyncIterator[tuple[int, Step]]:
        """Each step with the wait before it, ns; the first after a tool's run waits from that run's end."""
        for iteration in range(1, self._max_iterations + 1):
            for step in zip(self.plan.waits, self.plan.steps, strict=True):
                yield step
            calls = _calls(self.plan)
            if self.plan.stop_reason != "tool_use" or any(call.client_side for call in calls):
                return
            results = []
            for call in calls:
                yield 0, Step("tool_start", "", call)
                results.append(await execute(call))
                yield 0, Step("tool_end", "", results[-1])
            self._ask = _next(self._ask, self.plan, results, again=iteration < self._max_iterations)
            self.plan = self._turn(self._ask)
        for step in zip(self.plan.waits, self.plan.steps, strict=True):
            yield step


def _calls(plan: Plan) -> list[ToolCall]:
    """The tools that a turn calls, each once."""
    return list({step.tool.id: step.tool for step in plan.steps if step.tool is not None}.values())


def _next(ask: Ask, plan: Plan, results: list[ToolCall], *, again: bool) -> Ask:
    """What the model is asked when its tools have run; `again`: it may use more."""
    prompt = "\n".join([ask.prompt, *(result.result for result in results)])
    return replace(
        ask,
        prompt=prompt,
        limit=None if ask.limit is None else ask.limit - len(plan.steps),
        tools=[_again(offer, prompt) for offer in ask.tools] if again else [],
        tool_results=ask.tool_results + 1,
    )


def _again(offer: ToolCall, prompt: str) -> ToolCall:
    if offer.client_side:
        return replace(offer, id=_id())
    return call(offer.name, TOOLS[offer.name].schema, prompt, client_side=False)


def _id() -> str:
    return secrets.token_hex(12)
