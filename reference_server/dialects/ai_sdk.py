"""The AI SDK's UI message stream: unnamed events with typed parts, `[DONE]` at the end of every stream.

https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol. The tools are the server's own, offered by name as in plain SSE:
`useChat` offers none. The usage is in the message's metadata, where many backends put it: the protocol has no place.
"""

import re
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from streamgauge.reference_server.dialects.events import Deltas, blocks, encode, event
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.dialects.question import MOST_STOPS, Question, refuse
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.steps import Kind, Step, ToolCall

_SAID_IN_PARTS = re.compile(rb'"parts"\s*:\s*\[')
_DONE = b"data: [DONE]\n\n"
_FINISH_REASONS = {  # `stop` for all others
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content-filter",
    "tool_use": "tool-calls",
}
_PARTS = {"text": "text", "thinking": "reasoning"}  # by the kind of the tokens


class Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    parts: list[dict[str, Any]]


class OfferedTool(BaseModel):
    """One of the server's own tools."""

    name: str


class UiQuestion(Question):
    request_id_header: ClassVar[str] = "x-request-id"
    overloaded: ClassVar[int] = 503

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    tools: list[OfferedTool] = Field(default_factory=list)
    thinking: bool = False
    stop: list[str] = Field(default_factory=list, max_length=MOST_STOPS)
    stream: bool = True

    @classmethod
    def speaks(cls, body: bytes) -> bool:
        return _SAID_IN_PARTS.search(body) is not None

    @model_validator(mode="after")
    def _conversation(self) -> "UiQuestion":
        try:
            self.as_plain()
        except ValidationError as fault:
            refuse(fault.errors(include_url=False)[0]["msg"])
        return self

    def as_plain(self) -> PlainQuestion:
        """The same question as one of plain SSE."""
        messages = [{"role": message.role, "content": _texts(message.parts)} for message in self.messages]
        fields = self.model_dump(include={"max_tokens", "thinking", "stop"})
        tools = [tool.name for tool in self.tools]
        return PlainQuestion.model_validate({"messages": messages, "tools": tools, **fields})

    def model_input(self) -> ModelInput:
        return self.as_plain().model_input()

    def writer(self, start: AnswerStart) -> "UiWriter":
        return UiWriter(start)

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:  # noqa: ARG003 - its clients show the body as it is
        return {"error": message}


class UiWriter:
    def __init__(self, start: AnswerStart) -> None:
        self._start = start
        self._parts = 0  # that have begun
        self._kind: Kind | None = None  # of the steps in the open part; None: no part is open
        self._tool: ToolCall | None = None  # whose input is in the open part
        self._deltas = Deltas(b'""')

    def opening(self) -> bytes:
        return event({"type": "start", "messageId": f"msg_{self._start.id}"}) + event({"type": "start-step"})

    def write(self, step: Step) -> bytes:
        if step.kind == "tool_end" and step.tool is not None:
            return self._close() + event(_output(step.tool))
        if step.kind not in {"text", "thinking", "tool_input"}:
            return b""
        opened = b""
        if step.kind != self._kind or (step.tool is not None and self._tool and step.tool.id != self._tool.id):
            opened = self._close() + self._open(step)
        return opened + self._deltas[step.text]

    def closing(self, end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        if end.stop_reason == "cancelled":
            return self._close() + event({"type": "abort", "reason": "the generation was cancelled"}) + _DONE
        finish = {"type": "finish", "finishReason": _finish_reason(end), "messageMetadata": self._metadata(end)}
        return self._close() + event({"type": "finish-step"}) + event(finish) + _DONE

    def error(self, status: int, message: str) -> bytes:  # noqa: ARG002 - the part has a text only
        return event({"type": "error", "errorText": message})

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        """The message that a client puts together of the stream."""
        self._start = end.start or self._start
        parts: list[dict[str, Any]] = []
        for kind, tool, text in blocks(steps):
            if kind in _PARTS:
                parts.append({"type": _PARTS[kind], "text": text, "state": "done"})
            elif kind == "tool_end" and tool is not None:
                state = {"state": "output-error", "errorText": tool.result} if tool.failed else _available(tool)
                parts.append({"type": f"tool-{tool.name}", "toolCallId": tool.id, "input": tool.input, **state})
        metadata = {**self._metadata(end), "finishReason": _finish_reason(end)}
        return encode({"id": f"msg_{self._start.id}", "role": "assistant", "parts": parts, "metadata": metadata})

    def _open(self, step: Step) -> bytes:
        self._kind, self._tool = step.kind, step.tool
        self._parts += 1
        if step.tool is not None:
            call = {"toolCallId": step.tool.id}
            self._deltas = Deltas(event({"type": "tool-input-delta", **call, "inputTextDelta": ""}))
            return event({"type": "tool-input-start", **call, "toolName": step.tool.name})
        name, id = _PARTS[step.kind], f"part_{self._parts}"
        self._deltas = Deltas(event({"type": f"{name}-delta", "id": id, "delta": ""}))
        return event({"type": f"{name}-start", "id": id})

    def _close(self) -> bytes:
        kind, tool = self._kind, self._tool
        self._kind = None
        if kind is None:
            return b""
        if tool is not None:
            call = {"toolCallId": tool.id, "toolName": tool.name, "input": tool.input}
            return event({"type": "tool-input-available", **call})
        return event({"type": f"{_PARTS[kind]}-end", "id": f"part_{self._parts}"})

    def _metadata(self, end: AnswerEnd) -> dict[str, Any]:
        start = self._start
        cached = {"cacheReadTokens": start.cache_read, "cacheWriteTokens": start.cache_write}
        usage = {
            "inputTokens": start.input_tokens,
            "inputTokenDetails": {"noCacheTokens": start.input_tokens - sum(cached.values()), **cached},
            "outputTokens": end.output_tokens,
            "outputTokenDetails": {
                "textTokens": end.output_tokens - end.thinking_tokens,
                "reasoningTokens": end.thinking_tokens,
            },
            "totalTokens": start.input_tokens + end.output_tokens,
        }
        return {"usage": usage}


def _texts(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [part for part in parts if part.get("type") == "text" and isinstance(part.get("text"), str)]


def _available(tool: ToolCall) -> dict[str, Any]:
    return {"state": "output-available", "output": tool.result}


def _output(tool: ToolCall) -> dict[str, Any]:
    if tool.failed:
        return {"type": "tool-output-error", "toolCallId": tool.id, "errorText": tool.result}
    return {"type": "tool-output-available", "toolCallId": tool.id, "output": tool.result}


def _finish_reason(end: AnswerEnd) -> str:
    return _FINISH_REASONS.get(end.stop_reason, "stop")
