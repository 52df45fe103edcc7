"""OpenAI chat completions: unnamed chunks, a role before the text, usage on request, `[DONE]` at the end.

https://platform.openai.com/docs/api-reference/chat. Thoughts are sent as `reasoning_content`, like other servers that
send them. All tools are the client's.
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from streamgauge.reference_server.dialects.events import around_text, blocks, encode, event, joined, quoted
from streamgauge.reference_server.dialects.question import MOST_TOOLS, Question, refuse
from streamgauge.reference_server.model import tools
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.steps import Step

_ERRORS = {  # by status: type and code
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
_FINISH_REASONS = {  # `stop` for all others
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
    max_tokens: int | None = Field(default=None, ge=1)  # the older name of max_completion_tokens
    tools: list[Tool] = Field(default_factory=list, max_length=MOST_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedTool = "auto"
    reasoning_effort: str | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    n: int = Field(default=1, ge=1, le=1)  # several answers to one request are not simulated
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

    def model_input(self) -> ModelInput:
        prompt = joined(
            *(encode(tool.model_dump()).decode() for tool in self.tools),
            *(content for message in self.messages for content in _contents(message)),
        )
        forced = self.tool_choice.function.name if isinstance(self.tool_choice, NamedTool) else None
        return ModelInput(
            prompt,
            self.max_completion_tokens or self.max_tokens,
            tools=[
                tools.call(tool.function.name, tool.function.parameters, prompt, client_side=True)
                for tool in self.tools
                if self.tool_choice != "none" and forced in {None, tool.function.name}
            ],
            tool_results=_tool_rounds(self.messages),
            thinking=self.reasoning_effort not in {None, "none"},
            stop_sequences=[self.stop] if isinstance(self.stop, str) else self.stop or [],
        )

    def writer(self, start: AnswerStart) -> "ChatWriter":
        return ChatWriter(self.model, start, self.stream_options is not None and self.stream_options.include_usage)

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:  # noqa: ARG003 - in this protocol the id is only in a header
        return _error(status, message)

    def _names(self) -> set[str]:
        return {tool.function.name for tool in self.tools}


class ChatWriter:
    def __init__(self, model: str, start: AnswerStart, include_usage: bool) -> None:
        self._start = start
        self._include_usage = include_usage
        self._calls: list[str] = []  # ids of the tool calls that have begun
        self._head = {
            "id": f"chatcmpl-{start.id}",
            "object": "chat.completion.chunk",
            "created": start.created,
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

    def closing(self, end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        last = self._chunk({}, _finish_reason(end))
        if self._include_usage:
            last += event({**self._head, "choices": [], "usage": self._usage(end)})
        return last + b"data: [DONE]\n\n"

    def error(self, status: int, message: str) -> bytes:
        return event(_error(status, message))

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        texts = {"text": "", "thinking": ""}
        calls = []
        for kind, tool, text in blocks(steps):
            if kind == "tool_input" and tool is not None:
                called = {"name": tool.name, "arguments": text}
                calls.append({"id": f"call_{tool.id}", "type": "function", "function": called})
            elif kind in texts:
                texts[kind] += text
        message: dict[str, Any] = {"role": "assistant", "content": texts["text"] or None, "refusal": None}
        if texts["thinking"]:
            message["reasoning_content"] = texts["thinking"]
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(end)}
        return encode({**self._head, "object": "chat.completion", "choices": [choice], "usage": self._usage(end)})

    def _begun(self, step: Step) -> bytes:
        """The chunk that begins a tool call; b"" if the call has begun before."""
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
        return event({**self._head, "choices": choices, **({"usage": None} if self._include_usage else {})})

    def _usage(self, end: AnswerEnd) -> dict[str, Any]:
        prompt_tokens = self._start.input_tokens
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": end.output_tokens,
            "total_tokens": prompt_tokens + end.output_tokens,
            "prompt_tokens_details": {
                "cached_tokens": self._start.cache_read,
                "cache_write_tokens": self._start.cache_write,
            },
            "completion_tokens_details": {"reasoning_tokens": end.thinking_tokens},
        }


def _finish_reason(end: AnswerEnd) -> str:
    return _FINISH_REASONS.get(end.stop_reason, "stop")


def _error(status: int, message: str) -> dict[str, Any]:
    kind, code = _ERRORS.get(status, ("invalid_request_error" if status < 500 else "server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _contents(message: Message) -> list[str | list[dict[str, Any]]]:
    return [message.content or "", *(call.function.arguments for call in message.tool_calls)]


def _check_calls(messages: list[Message]) -> None:
    open_calls: set[str] = set()  # ids of the assistant's calls that have no result yet
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


def _tool_rounds(messages: list[Message]) -> int:
    """How many rounds of tool calls came since the person's last message."""
    rounds = 0
    for message in messages:
        if message.role == "user":
            rounds = 0
        elif message.tool_calls:
            rounds += 1
    return rounds
