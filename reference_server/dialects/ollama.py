"""Ollama's /api/chat: a JSON document on each line, a tool call as a whole, the counts in the last line.

https://docs.ollama.com/api/chat. All tools are the client's. A question without messages only
loads the model. The durations of the last line are left out: a dialect has no clock.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from streamgauge.reference_server.dialects.as_chat import CallInOnePiece, Conversation, chat_question
from streamgauge.reference_server.dialects.events import around_text, blocks, encode, quoted
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion, Tool
from streamgauge.reference_server.dialects.question import MOST_STOPS, Framing, Question
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.steps import Step, ToolCall


class CalledFunction(BaseModel):
    name: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default={})


class Call(BaseModel):
    function: CalledFunction


class Message(BaseModel):
    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: list[Call] = Field(default_factory=list)
    tool_name: str | None = None


class Options(BaseModel):
    num_predict: int | None = None  # none, or fewer than one: no limit
    stop: str | list[str] = Field(default_factory=list, max_length=MOST_STOPS)
    temperature: float | None = Field(default=None, ge=0)


class OllamaQuestion(Question):
    request_id_header: ClassVar[str] = "x-request-id"
    overloaded: ClassVar[int] = 503
    framing: ClassVar[Framing] = "ndjson"
    has_comments: ClassVar[bool] = False
    has_ids: ClassVar[bool] = False

    model: str = Field(min_length=1, max_length=256)
    messages: list[Message] = Field(default_factory=list)
    tools: list[Tool] = Field(default_factory=list)
    options: Options = Field(default_factory=Options)
    think: bool | str | None = None
    stream: bool = True

    def as_chat(self) -> ChatQuestion:
        said = Conversation()
        for message in self.messages:
            if message.role == "tool":
                said.answer(message.tool_name, message.content)
            else:
                calls = [(call.function.name, call.function.arguments) for call in message.tool_calls]
                said.say(message.role, message.content, calls)
        limit, stop = self.options.num_predict, self.options.stop
        return chat_question(
            model=self.model,
            messages=said.messages,
            tools=[tool.model_dump() for tool in self.tools],
            max_tokens=limit if limit is not None and limit > 0 else None,
            reasoning_effort=None if not self.think else self.think if isinstance(self.think, str) else "medium",
            stop=[stop] if isinstance(stop, str) else stop,
        )

    def model_input(self) -> ModelInput:
        return self.as_chat().model_input() if self.messages else ModelInput("", 0)

    def writer(self, start: AnswerStart) -> "OllamaWriter":
        return OllamaWriter(self.model, start, "stop" if self.messages else "load")

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:  # noqa: ARG003 - there is only the text
        return {"error": message}


class OllamaWriter:
    def __init__(self, model: str, start: AnswerStart, usual_reason: str) -> None:
        self._start = start
        self._usual_reason = usual_reason
        self._call = CallInOnePiece()
        self._head = {"model": model, "created_at": datetime.fromtimestamp(start.created, UTC).isoformat()}
        self._text = around_text(self._line({"content": ""}))

    def opening(self) -> bytes:
        return b""

    def write(self, step: Step) -> bytes:
        if step.kind == "text":
            before, after = self._text
            return before + quoted(step.text) + after
        if step.kind == "thinking":
            return self._line({"content": "", "thinking": step.text})
        if step.kind == "tool_input" and step.tool is not None:
            arguments = self._call.add(step.text)
            return (
                b"" if arguments is None else self._line({"content": "", "tool_calls": [_call(step.tool, arguments)]})
            )
        return b""

    def closing(self, end: AnswerEnd) -> bytes:
        return self._line({"content": ""}, self._last(end))

    def error(self, status: int, message: str) -> bytes:  # noqa: ARG002 - the status was sent long ago
        return encode({"error": message}) + b"\n"

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        texts = {"text": "", "thinking": ""}
        calls = []
        for kind, tool, text in blocks(steps):
            if kind == "tool_input" and tool is not None:
                calls.append(_call(tool, tool.input))
            elif kind in texts:
                texts[kind] += text
        message: dict[str, Any] = {"content": texts["text"]}
        if texts["thinking"]:
            message["thinking"] = texts["thinking"]
        if calls:
            message["tool_calls"] = calls
        return self._line(message, self._last(end))

    def _line(self, message: dict[str, Any], last: dict[str, Any] | None = None) -> bytes:
        rest = {"done": False} if last is None else {"done": True, **last}
        return encode({**self._head, "message": {"role": "assistant", **message}, **rest}) + b"\n"

    def _last(self, end: AnswerEnd) -> dict[str, Any]:
        start = end.start or self._start
        cut = end.stop_reason in {"max_tokens", "model_context_window_exceeded"} and self._usual_reason == "stop"
        return {
            "done_reason": "length" if cut else self._usual_reason,
            "prompt_eval_count": start.input_tokens,
            "eval_count": end.output_tokens,
        }


def _call(tool: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"function": {"name": tool.name, "arguments": arguments}}
