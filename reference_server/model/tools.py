"""The server's own tools, and how one of them is run.

A tool is an ordinary coroutine function with a deadline. Whatever goes wrong in it (an input that does not fit, an
error, no result in time) becomes a failed result, and the model continues from there. It never ends the stream.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Annotated, Any, Literal

import msgspec

from streamgauge.reference_server.model.samples import sample
from streamgauge.reference_server.model.steps import ToolCall


class ToolFailed(Exception):
    """A tool could not do what it was asked. The model gets the message and can show it to the person."""


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
    await asyncio.sleep(0.02)  # about one query of a database near by
    if asked.station not in _LEVELS:
        raise ToolFailed(f"the gauge at {asked.station} has sent nothing since yesterday")
    return f"{_LEVELS[asked.station]} m"


async def _convert(asked: Convert) -> str:
    if asked.to not in _METRES:
        raise ToolFailed(f"no conversion to {asked.to}; there are {', '.join(_METRES)}")
    return f"{asked.value * _METRES[asked.unit] / _METRES[asked.to]:g} {asked.to}"


async def _forecast(asked: Forecast) -> str:
    await asyncio.Event().wait()  # the simulated service never answers
    return f"no change at {asked.station}"


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    input: type[msgspec.Struct]  # its docstring is the tool's description, its fields are the input schema
    run: Callable[[Any], Awaitable[str]]
    seconds: float  # the deadline of a run

    @property
    def description(self) -> str:
        return self.input.__doc__ or ""

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the input, as a model gets it."""
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
    """A call of this tool that the model could make. The same schema and prompt give the same input."""
    made = sample(schema, Random(f"{name}\0{prompt}"))
    return ToolCall(new_id(), name, made if isinstance(made, dict) else {}, client_side=client_side)


async def execute(call: ToolCall) -> ToolCall:
    """The call with its result and the seconds that it took. Where it `failed`, the result is the reason."""
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
    except Exception as fault:  # noqa: BLE001 - any defect of a tool is a failed result; the stream continues
        return f"the tool broke: {type(fault).__name__}", True


def new_id() -> str:
    return secrets.token_hex(12)
