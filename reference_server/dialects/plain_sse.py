"""Plain SSE, as many teams write it by hand: the text itself in `data:`, a JSON event with the usage, `[DONE]`.

A token with line breaks becomes several `data:` lines of one event. A leading space survives, because the syntax has
one space of its own after the colon (WHATWG HTML, 9.2.6). Two things cannot be sent: a carriage return, which becomes a
line feed, and text that looks like a control event, which clients take for one. The simulated model writes neither.
Events that are not text have a name (`thinking`; `tool_start` and `tool_end` with JSON), so a client that listens only
for unnamed messages gets the text and nothing else.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator

from streamgauge.reference_server.dialects.events import blocks, encode, event, joined
from streamgauge.reference_server.dialects.question import MOST_STOPS, MOST_TOOLS, Question, refuse
from streamgauge.reference_server.model import tools
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.steps import Step, ToolCall

_LINE_END = re.compile(r"\r\n|\r|\n")


class Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str | list[dict[str, Any]]


class PlainQuestion(Question):
    request_id_header: ClassVar[str] = "x-request-id"
    overloaded: ClassVar[int] = 503

    messages: list[Message] = Field(min_length=1)
    system: str = ""
    max_tokens: int | None = Field(default=None, ge=1)
    tools: list[str] = Field(default_factory=list, max_length=MOST_TOOLS)  # names of the server's own tools
    thinking: bool = False
    stop: list[str] = Field(default_factory=list, max_length=MOST_STOPS)
    stream: bool = True

    @field_validator("tools")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in tools.TOOLS:
                refuse(f"no tool called {name!r}; there are {', '.join(tools.TOOLS)}")
        return names

    def model_input(self) -> ModelInput:
        prompt = joined(self.system, *(message.content for message in self.messages))
        return ModelInput(
            prompt,
            self.max_tokens,
            tools=[tools.call(name, tools.TOOLS[name].schema, prompt, client_side=False) for name in self.tools],
            thinking=self.thinking,
            stop_sequences=self.stop,
        )

    def writer(self, start: AnswerStart) -> "PlainWriter":
        return PlainWriter(start)

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:
        return {"error": {"status": status, "message": message, "request_id": request_id}}


class PlainWriter:
    def __init__(self, start: AnswerStart) -> None:
        self._start = start

    def opening(self) -> bytes:
        return b""

    def write(self, step: Step) -> bytes:
        if step.kind == "text":
            return _lines(step.text)
        if step.kind == "thinking":
            return b"event: thinking\n" + _lines(step.text)
        if step.tool is None or step.kind == "tool_input":  # `tool_start` has the whole input
            return b""
        return event(_started(step.tool) if step.kind == "tool_start" else _ended(step.tool), step.kind)

    def closing(self, end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        return event({"done": True, **self._usage(end)}) + b"data: [DONE]\n\n"

    def error(self, status: int, message: str) -> bytes:
        return event({"error": {"status": status, "message": message}})

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        texts = {"text": "", "thinking": ""}
        ran = []
        for kind, tool, text in blocks(steps):
            if kind in texts:
                texts[kind] += text
            elif tool is not None and kind == "tool_end":
                ran.append({**_started(tool), **_ended(tool)})
        return encode({**texts, "tools": ran, **self._usage(end)})

    def _usage(self, end: AnswerEnd) -> dict[str, Any]:
        return {
            "input_tokens": self._start.input_tokens,
            "output_tokens": end.output_tokens,
            "cache_read_tokens": self._start.cache_read,
            "cache_creation_tokens": self._start.cache_write,
            "stop_reason": end.stop_reason,
        }


def _started(tool: ToolCall) -> dict[str, Any]:
    return {"id": tool.id, "name": tool.name, "input": tool.input}


def _ended(tool: ToolCall) -> dict[str, Any]:
    seconds = round(tool.seconds, 6)
    return {"id": tool.id, "name": tool.name, "result": tool.result, "failed": tool.failed, "seconds": seconds}


@lru_cache(maxsize=4096)
def _lines(text: str) -> bytes:
    """An event with this text as its data."""
    return b"".join(b"data: " + line.encode() + b"\n" for line in _LINE_END.split(text)) + b"\n"
