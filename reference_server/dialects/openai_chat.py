"""OpenAI chat completions: unnamed chunks, a role before the text, usage on request, `[DONE]` at the end.

https://platform.openai.com/docs/api-reference/chat. Thoughts are told as `reasoning_content`, as the servers do that
tell them at all. All tools are the client's.
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from streamgauge.reference_server import tools
from streamgauge.reference_server.dialects import (
    Answer,
    End,
    Question,
    around_text,
    blocks,
    encode,
    event,
    joined,
    quoted,
    refuse,
)
from streamgauge.reference_server.model import Ask, Step

_ERRORS = {  # status: type and code
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
_FINISH_REASONS = {  # all others: stop
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class CalledFunction(BaseModel):
    name: str = Field(min_length=1)
    arguments: str


class Call(BaseModel):
    id: str = Field(min_length=1)
    type: Literal["function"]
    function: CalledFunction


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[Call] = Field(default_factory=list)
    tool_call_id: str | None = None


class Function(BaseModel):
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any] = Field(default={})


class Tool(BaseModel):
    type: Literal["function"]
    function: Function


class NamedFunction(BaseModel):
    name: str


class NamedTool(BaseModel):
    type: Literal["function"]
    function: NamedFunction


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatQuestion(Question):
    request_id_header: ClassVar[str] = "x-request-id"
    overloaded: ClassVar[int] = 503

    model: str = Field(min_length=1, max_length=256)
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)  # the older name of the same
    tools: list[Tool] = Field(default_factory=list)
    tool_choice: Literal["none", "auto", "required"] | NamedTool = "auto"
    reasoning_effort: str | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    n: int = Field(default=1, ge=1, le=1)  # more than one answer at a time is not simulated
    temperature: float | None = Field(default=None, ge=0, le=2)
    stream: bool = False
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _conversation(self) -> "ChatQuestion":
        if self.stream_options is not None and not self.stream:
            refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.")
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.function.name not in self._names():
            refuse(f"Tool choice {self.tool_choice.function.name!r} not found in 'tools' parameter.")
        _check_calls(self.messages)
        return self

    def ask(self) -> Ask:
        prompt = joined(
            *(encode(tool.model_dump()).decode() for tool in self.tools),
            *(said for message in self.messages for said in _said(message)),
        )
        offered = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else None
        return Ask(
            prompt,
            self.max_completion_tokens or self.max_tokens,
            tools=[
                tools.call(tool.function.name, tool.function.parameters, prompt, client_side=True)
                for tool in self.tools
                if self.tool_choice != "none" and offered in {None, tool.function.name}
            ],
            tool_results=_rounds(self.messages),
            thinking=self.reasoning_effort not in {None, "none"},
            stop_sequences=[self.stop] if isinstance(self.stop, str) else self.stop or [],
        )

    def writer(self, answer: Answer) -> "ChatWriter":
        return ChatWriter(self.model, answer, self.stream_options is not None and self.stream_options.include_usage)

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:  # noqa: ARG003 - here it is a header only
        return _error(status, message)

    def _names(self) -> set[str]:
        return {tool.function.name for tool in self.tools}


class ChatWriter:
    def __init__(self, model: str, answer: Answer, tell_usage: bool) -> None:
        self._answer = answer
        self._tell_usage = tell_usage
        self._calls: list[str] = []  # ids of the tool calls that have begun
        self._head = {
            "id": f"chatcmpl-{answer.id}",
            "object": "chat.completion.chunk",
            "created": answer.created,
            "model": model,
        }
        self._text = around_text(self._chunk({"content": ""}))

    def opening(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def write(self, step: Step) -> bytes:
        if step.kind == "text":
            before, after = self._text
            return before + quoted(step.text) + after
        if step.kind == "thinking":
            return self._chunk({"reasoning_content": step.text})
        if step.kind == "tool_input" and step.tool is not None:
            return self._begun(step) + self._called({"arguments": step.text})
        return b""

    def closing(self, end: End) -> bytes:
        self._answer = end.answer or self._answer
        last = self._chunk({}, _finish_reason(end))
        if self._tell_usage:
            last += event({**self._head, "choices": [], "usage": self._usage(end)})
        return last + b"data: [DONE]\n\n"

    def error(self, status: int, message: str) -> bytes:
        return event(_error(status, message))

    def whole(self, steps: Iterable[Step], end: End) -> bytes:
        self._answer = end.answer or self._answer
        said = {"text": "", "thinking": ""}
        calls = []
        for kind, tool, text in blocks(steps):
            if kind == "tool_input" and tool is not None:
                called = {"name": tool.name, "arguments": text}
                calls.append({"id": f"call_{tool.id}", "type": "function", "function": called})
            elif kind in said:
                said[kind] += text
        message: dict[str, Any] = {"role": "assistant", "content": said["text"] or None, "refusal": None}
        if said["thinking"]:
            message["reasoning_content"] = said["thinking"]
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(end)}
        return encode({**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage(end)})

    def _begun(self, step: Step) -> bytes:
        """The chunk that begins a tool call, if it has not begun."""
        assert step.tool is not None
        if step.tool.id in self._calls:
            return b""
        self._calls.append(step.tool.id)
        return self._called(
            {"name": step.tool.name, "arguments": ""}, {"id": f"call_{step.tool.id}", "type": "function"}
        )

    def _called(self, function: dict[str, str], first: dict[str, str] | None = None) -> bytes:
        call = {"index": len(self._calls) - 1, **(first or {}), "function": function}
        return self._chunk({"tool_calls": [call]})

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]
        return event({**self._head, "choices": choices, **({"usage": None} if self._tell_usage else {})})

    def _usage(self, end: End) -> dict[str, Any]:
        asked = self._answer.input_tokens
        return {
            "prompt_tokens": asked,
            "completion_tokens": end.output_tokens,
            "total_tokens": asked + end.output_tokens,
            "prompt_tokens_details": {
                "cached_tokens": self._answer.cache_read,
                "cache_write_tokens": self._answer.cache_write,
            },
            "completion_tokens_details": {"reasoning_tokens": end.thinking_tokens},
        }


def _finish_reason(end: End) -> str:
    return _FINISH_REASONS.get(end.stop_reason, "stop")


def _error(status: int, message: str) -> dict[str, Any]:
    kind, code = _ERRORS.get(status, ("invalid_request_error" if status < 500 else "server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _said(message: Message) -> list[str | list[dict[str, Any]]]:
    return [message.content or "", *(call.function.arguments for call in message.tool_calls)]


def _check_calls(messages: list[Message]) -> None:
    open_calls: set[str] = set()  # asked for by the assistant, not yet answered
    for place, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                refuse(
                    f"messages.{place}: messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'."
                )
            open_calls.remove(message.tool_call_id)
            continue
        if open_calls:
            refuse(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(open_calls)}"
            )
        open_calls = {call.id for call in message.tool_calls} if message.role == "assistant" else set()


def _rounds(messages: list[Message]) -> int:
    """How often tools have answered since the person last did."""
    rounds = 0
    for message in messages:
        if message.role == "user":
            rounds = 0
        elif message.tool_calls:
            rounds += 1
    return rounds
