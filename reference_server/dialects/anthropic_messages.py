"""Anthropic Messages: named events, content blocks, usage at both ends. https://docs.anthropic.com/en/api/messages

Tools that come with an `input_schema` are the client's: the answer ends with the call. A request offers the server's
own tools by `type`, such as `{"type": "gauge_level_20261101", "name": "gauge_level"}`. They run in the middle of the
answer and appear in it as `server_tool_use` and `gauge_level_tool_result` blocks, like the API's own tools.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from streamgauge.reference_server.dialects.anthropic_body import (
    CacheControl,
    Content,
    Message,
    Thinking,
    Tool,
    ToolChoice,
    check_thoughts,
    check_tools,
    check_turns,
    has_cache_mark,
    signature,
    text_of,
    tool_rounds,
)
from streamgauge.reference_server.dialects.events import Deltas, blocks, encode, event
from streamgauge.reference_server.dialects.question import MOST_STOPS, MOST_TOOLS, Question, refuse
from streamgauge.reference_server.model import tools
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.steps import Kind, Step, ToolCall

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_MOST_MARKS = 4  # blocks with cache_control in a request
_NO_THREADS = "thread: this server keeps no conversation; send all messages"
# Clients act on these, too: the SDK sends the request again without a thread when it reads this code.
_DETAILS = {_NO_THREADS: {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}}
_NO_THINKING = Thinking(type="disabled")
_DELTAS = {  # for each kind of token: the type of its delta, and the field that has the text
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_input": ("input_json_delta", "partial_json"),
}


class MessagesQuestion(Question):
    request_id_header: ClassVar[str] = "request-id"
    overloaded: ClassVar[int] = 529

    model: str = Field(min_length=1, max_length=256)
    max_tokens: int = Field(ge=1)
    messages: list[Message] = Field(min_length=1)
    system: Content = Field(default_factory=list)
    tools: list[Tool] = Field(default_factory=list, max_length=MOST_TOOLS)
    tool_choice: ToolChoice | None = None
    # A factory, because pydantic would copy a plain default for each question.
    thinking: Thinking = Field(default_factory=lambda: _NO_THINKING)
    stop_sequences: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list, max_length=MOST_STOPS)
    temperature: float | None = Field(default=None, ge=0, le=1)
    cache_control: CacheControl | None = None  # marks the whole prompt for the cache
    thread: dict[str, Any] | None = None  # with a thread, clients send new messages only
    stream: bool = False

    @model_validator(mode="after")
    def _conversation(self) -> "MessagesQuestion":
        if self.thread is not None:
            refuse(_NO_THREADS)
        check_turns(self.messages)
        check_tools(self.tools, self.tool_choice)
        marks = sum(mark for _, mark in self._lines())
        if marks > _MOST_MARKS:
            refuse(f"A maximum of {_MOST_MARKS} blocks with cache_control may be provided. Found {marks}.")
        if self.thinking.type == "enabled":
            if self.thinking.budget_tokens is None:
                refuse("thinking.enabled.budget_tokens: Field required")
            if self.thinking.budget_tokens >= self.max_tokens:
                refuse("`max_tokens` must be greater than `thinking.budget_tokens`")
        if self.thinking.type != "disabled" and self.tool_choice and self.tool_choice.type in {"any", "tool"}:
            refuse("Thinking may not be enabled when tool_choice forces tool use.")
        return self

    def model_input(self) -> ModelInput:
        check_thoughts(self.messages)
        lines: list[str] = []
        prefixes: list[str] = []
        for text, mark in self._lines():
            lines += [text] if text else []
            prefixes += ["\n".join(lines)] if mark else []
        prompt = "\n".join(lines)
        return ModelInput(
            prompt,
            self.max_tokens,
            cache_prefixes=prefixes,
            tools=list(self._calls(prompt)),
            tool_results=tool_rounds(self.messages),
            thinking=self.thinking.type != "disabled",
            stop_sequences=self.stop_sequences,
        )

    def writer(self, start: AnswerStart) -> "MessagesWriter":
        return MessagesWriter(self.model, start)

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:
        return _error(status, message) | {"request_id": request_id}

    def _lines(self) -> Iterator[tuple[str, bool]]:
        """The prompt in the order of the prompt cache; True where a cache mark follows."""
        for tool in self.tools:
            yield encode(tool.model_dump(exclude={"cache_control"})).decode(), tool.cache_control is not None
        for block in self.system:
            yield text_of(block), has_cache_mark(block)
        for message in self.messages:
            for block in message.content:
                yield text_of(block), has_cache_mark(block)
        if self.cache_control is not None:
            yield "", True

    def _calls(self, prompt: str) -> Iterator[ToolCall]:
        choice = self.tool_choice or ToolChoice(type="auto")
        for tool in self.tools:
            if choice.type == "none" or (choice.type == "tool" and choice.name != tool.name):
                continue
            schema = tools.TOOLS[tool.name].schema if tool.input_schema is None else tool.input_schema
            yield tools.call(tool.name, schema, prompt, client_side=tool.type == "custom")


class CountQuestion(MessagesQuestion):
    """A question whose tokens are only counted. Nothing is generated, so it needs no limit."""

    max_tokens: int = Field(default=1 << 20, ge=1)


class MessagesWriter:
    __slots__ = ("_deltas", "_index", "_kind", "_model", "_start", "_thoughts", "_tool")

    def __init__(self, model: str, start: AnswerStart) -> None:
        self._model = model
        self._start = start
        self._index = -1  # of the latest content block
        self._kind: Kind | None = None  # of the steps in the open block; None: no block is open
        self._tool = ""  # the id of the tool whose input is in the open block
        self._deltas: Mapping[str, bytes] = {}  # the events of the open block, by the text of the token
        self._thoughts: list[str] = []  # of the open block

    def opening(self) -> bytes:
        # No content block yet: only the first token shows whether the model thinks, writes or calls a tool.
        message_start = {"type": "message_start", "message": self._message([], None, None, self._usage(1))}
        return event(message_start, "message_start") + event({"type": "ping"}, "ping")

    def write(self, step: Step) -> bytes:
        if step.kind == self._kind and (step.tool is None or step.tool.id == self._tool):
            if step.kind == "thinking":
                self._thoughts.append(step.text)
            return self._deltas[step.text]
        if step.tool is not None and step.kind == "tool_start":
            return self._close()
        if step.tool is not None and step.kind == "tool_end":
            return self._close() + self._start_block(_result_block(step.tool)) + self._stop_block()
        if step.kind == "signature":
            return self._signed(step.text)
        if step.kind == "redacted_thinking":
            return self._close() + self._start_block(_redacted(step.text)) + self._stop_block()
        return self._close() + self._open(step) + self.write(step)

    def closing(self, end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        delta = {"stop_reason": _stop_reason(end), "stop_sequence": end.stop_sequence}
        usage = self._usage(end.output_tokens, end.thinking_tokens)
        return (
            self._close()
            + event({"type": "message_delta", "delta": delta, "usage": usage}, "message_delta")
            + event({"type": "message_stop"}, "message_stop")
        )

    def error(self, status: int, message: str) -> bytes:
        return event(_error(status, message), "error")

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        content: list[dict[str, Any]] = []
        for run in blocks(steps):
            _add_block(content, *run)
        usage = self._usage(end.output_tokens, end.thinking_tokens)
        return encode(self._message(content, _stop_reason(end), end.stop_sequence, usage))

    def _open(self, step: Step) -> bytes:
        self._kind, self._tool = step.kind, step.tool.id if step.tool else ""
        match step.kind:
            case "tool_input":
                assert step.tool is not None
                started = self._start_block(_use_block(step.tool, {}))
            case "thinking":
                started = self._start_block({"type": "thinking", "thinking": "", "signature": ""})
            case _:
                started = self._start_block({"type": "text", "text": ""})
        self._deltas = _deltas(self._index, step.kind)
        # Like the API, begin the input of a tool with an empty delta.
        return started + self._deltas[""] if step.kind == "tool_input" else started

    def _close(self) -> bytes:
        if self._kind is None:
            return b""
        if self._kind == "thinking":
            return self._signed(signature("".join(self._thoughts)))
        self._kind = None
        return self._stop_block()

    def _signed(self, proof: str) -> bytes:
        """The end of a thought. A real model may hide its text, so the block may not be open yet."""
        opened = b"" if self._kind == "thinking" else self._close() + self._open(Step("thinking", ""))
        self._kind = None
        self._thoughts.clear()
        return opened + _delta(self._index, {"type": "signature_delta", "signature": proof}) + self._stop_block()

    def _start_block(self, block: dict[str, Any]) -> bytes:
        self._index += 1
        block_start = {"type": "content_block_start", "index": self._index, "content_block": block}
        return event(block_start, "content_block_start")

    def _stop_block(self) -> bytes:
        return event({"type": "content_block_stop", "index": self._index}, "content_block_stop")

    def _message(
        self, content: list[dict[str, Any]], stop_reason: str | None, stop_sequence: str | None, usage: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": f"msg_{self._start.id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": stop_sequence,
            "usage": usage,
        }

    def _usage(self, output_tokens: int, thinking_tokens: int = 0) -> dict[str, Any]:
        """The usage so far. In this protocol `input_tokens` leaves out what was read from or written to the cache."""
        read, write = self._start.cache_read, self._start.cache_write
        return {
            "input_tokens": self._start.input_tokens - read - write,
            "cache_creation_input_tokens": write,
            "cache_read_input_tokens": read,
            "output_tokens": output_tokens,
            **({"output_tokens_details": {"thinking_tokens": thinking_tokens}} if thinking_tokens else {}),
        }


def _delta(index: int, delta: dict[str, str]) -> bytes:
    return event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")


@lru_cache(maxsize=32)
def _deltas(index: int, kind: Kind) -> Deltas:
    name, text = _DELTAS[kind]
    return Deltas(_delta(index, {"type": name, text: ""}))


def _add_block(content: list[dict[str, Any]], kind: Kind, tool: ToolCall | None, text: str) -> None:
    """Add a run of steps to the content of a whole message."""
    match kind:
        case "text":
            content.append({"type": "text", "text": text})
        case "thinking":
            content.append({"type": "thinking", "thinking": text, "signature": signature(text)})
        case "signature":
            thought = content.pop() if content and content[-1]["type"] == "thinking" else {"thinking": ""}
            content.append({"type": "thinking", **thought, "signature": text})
        case "redacted_thinking":
            content.append(_redacted(text))
        case "tool_input" if tool is not None:
            content.append(_use_block(tool, tool.input))
        case "tool_end" if tool is not None:
            content.append(_result_block(tool))


def _redacted(data: str) -> dict[str, Any]:
    return {"type": "redacted_thinking", "data": data}


def _use_block(tool: ToolCall, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "tool_use" if tool.client_side else "server_tool_use",
        "id": _id(tool),
        "name": tool.name,
        "input": given,
    }


def _result_block(tool: ToolCall) -> dict[str, Any]:
    kind = f"{tool.name}_tool_result"
    content = (
        {"type": f"{kind}_error", "error_code": "unavailable", "error_message": tool.result}
        if tool.failed
        else {"type": f"{tool.name}_result", "text": tool.result}
    )
    return {"type": kind, "tool_use_id": _id(tool), "content": content}


def _id(tool: ToolCall) -> str:
    return f"{'toolu' if tool.client_side else 'srvtoolu'}_{tool.id}"


def _stop_reason(end: AnswerEnd) -> str:
    return "end_turn" if end.stop_reason == "cancelled" else end.stop_reason


def _error(status: int, message: str) -> dict[str, Any]:
    details = {"details": _DETAILS[message]} if message in _DETAILS else {}
    return {"type": "error", "error": {"type": _ERRORS.get(status, "api_error"), "message": message, **details}}
