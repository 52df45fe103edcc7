"""Anthropic Messages: named events, content blocks, usage at both ends. https://docs.anthropic.com/en/api/messages

Tools that come with an `input_schema` are the client's: the answer ends with the call. The server's own are offered by
`type`, such as `{"type": "gauge_level_20261101", "name": "gauge_level"}`: they run in the middle of the answer, whose
blocks `server_tool_use` and `gauge_level_tool_result` tell of it, as those of the API's own tools do.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from streamgauge.reference_server import tools
from streamgauge.reference_server.dialects import Answer, Deltas, End, Question, blocks, encode, event, refuse
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
    marked,
    rounds,
    said,
    signature,
)
from streamgauge.reference_server.model import Ask, Kind, Step, ToolCall

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
_MOST_MARKS = 4  # cache_control, in the whole request
_NO_THREADS = "thread: this server keeps no conversation; send all messages"
# What clients act on besides an error's type: the SDK goes on without a thread when it is told so.
_DETAILS = {_NO_THREADS: {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}}
_NO_THINKING = Thinking(type="disabled")
_DELTAS = {  # of the steps that are tokens: the type of their deltas, and where it has the text
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
    tools: list[Tool] = Field(default_factory=list)
    tool_choice: ToolChoice | None = None
    thinking: Thinking = Field(default_factory=lambda: _NO_THINKING)  # a plain default would be copied for each
    stop_sequences: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    temperature: float | None = Field(default=None, ge=0, le=1)
    cache_control: CacheControl | None = None  # marks the whole prompt
    thread: dict[str, Any] | None = None  # only new messages come with it
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

    def ask(self) -> Ask:
        check_thoughts(self.messages)
        lines: list[str] = []
        prefixes: list[str] = []
        for text, mark in self._lines():
            lines += [text] if text else []
            prefixes += ["\n".join(lines)] if mark else []
        prompt = "\n".join(lines)
        return Ask(
            prompt,
            self.max_tokens,
            cache_prefixes=prefixes,
            tools=list(self._calls(prompt)),
            tool_results=rounds(self.messages),
            thinking=self.thinking.type != "disabled",
            stop_sequences=self.stop_sequences,
        )

    def writer(self, answer: Answer) -> "MessagesWriter":
        return MessagesWriter(self.model, answer)

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:
        return _error(status, message) | {"request_id": request_id}

    def _lines(self) -> Iterator[tuple[str, bool]]:
        """The prompt in the order in which the prompt cache sees it, and where it is marked."""
        for tool in self.tools:
            yield encode(tool.model_dump(exclude={"cache_control"})).decode(), tool.cache_control is not None
        for block in self.system:
            yield said(block), marked(block)
        for message in self.messages:
            for block in message.content:
                yield said(block), marked(block)
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
    """A message that is only to be counted: nothing is generated, so there need be no limit."""

    max_tokens: int = Field(default=1 << 20, ge=1)


class MessagesWriter:
    __slots__ = ("_answer", "_deltas", "_index", "_kind", "_model", "_thoughts", "_tool")

    def __init__(self, model: str, answer: Answer) -> None:
        self._model = model
        self._answer = answer
        self._index = -1  # of the latest content block
        self._kind: Kind | None = None  # of the steps that belong into the open block; None: no block is open
        self._tool = ""  # the id of the tool whose input it is
        self._deltas: Mapping[str, bytes] = {}  # of the open block
        self._thoughts: list[str] = []  # of the open block

    def opening(self) -> bytes:
        # No block yet: whether the model thinks, writes or calls a tool is only known with its first token.
        start = {"type": "message_start", "message": self._message([], None, None, self._usage(1))}
        return event(start, "message_start") + event({"type": "ping"}, "ping")

    def write(self, step: Step) -> bytes:
        if step.kind == self._kind and (step.tool is None or step.tool.id == self._tool):
            if step.kind == "thinking":
                self._thoughts.append(step.text)
            return self._deltas[step.text]
        if step.tool is not None and step.kind == "tool_start":
            return self._close()
        if step.tool is not None and step.kind == "tool_end":
            return self._close() + self._start(_result_block(step.tool)) + self._stop()
        if step.kind == "signature":
            return self._signed(step.text)
        if step.kind == "redacted_thinking":
            return self._close() + self._start(_redacted(step.text)) + self._stop()
        return self._close() + self._open(step) + self.write(step)

    def closing(self, end: End) -> bytes:
        self._answer = end.answer or self._answer
        delta = {"stop_reason": _stop_reason(end), "stop_sequence": end.stop_sequence}
        usage = self._usage(end.output_tokens, end.thinking_tokens)
        return (
            self._close()
            + event({"type": "message_delta", "delta": delta, "usage": usage}, "message_delta")
            + event({"type": "message_stop"}, "message_stop")
        )

    def error(self, status: int, message: str) -> bytes:
        return event(_error(status, message), "error")

    def whole(self, steps: Iterable[Step], end: End) -> bytes:
        self._answer = end.answer or self._answer
        content: list[dict[str, Any]] = []
        for run in blocks(steps):
            _add_whole(content, *run)
        usage = self._usage(end.output_tokens, end.thinking_tokens)
        return encode(self._message(content, _stop_reason(end), end.stop_sequence, usage))

    def _open(self, step: Step) -> bytes:
        self._kind, self._tool = step.kind, step.tool.id if step.tool else ""
        match step.kind:
            case "tool_input":
                assert step.tool is not None
                started = self._start(_use_block(step.tool, {}))
            case "thinking":
                started = self._start({"type": "thinking", "thinking": "", "signature": ""})
            case _:
                started = self._start({"type": "text", "text": ""})
        self._deltas = _deltas(self._index, step.kind)
        # The API begins a tool's input with nothing.
        return started + self._deltas[""] if step.kind == "tool_input" else started

    def _close(self) -> bytes:
        if self._kind is None:
            return b""
        if self._kind == "thinking":
            return self._signed(signature("".join(self._thoughts)))
        self._kind = None
        return self._stop()

    def _signed(self, proof: str) -> bytes:
        """The end of a thought, of which perhaps nothing else is told."""
        opened = b"" if self._kind == "thinking" else self._close() + self._open(Step("thinking", ""))
        self._kind = None
        self._thoughts.clear()
        return opened + _delta(self._index, {"type": "signature_delta", "signature": proof}) + self._stop()

    def _start(self, block: dict[str, Any]) -> bytes:
        self._index += 1
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        return event(start, "content_block_start")

    def _stop(self) -> bytes:
        return event({"type": "content_block_stop", "index": self._index}, "content_block_stop")

    def _message(
        self, content: list[dict[str, Any]], stop_reason: str | None, stop_sequence: str | None, usage: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "id": f"msg_{self._answer.id}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": stop_sequence,
            "usage": usage,
        }

    def _usage(self, output_tokens: int, thinking_tokens: int = 0) -> dict[str, Any]:
        """So far; `input_tokens` is here what the prompt cache had no part in."""
        read, write = self._answer.cache_read, self._answer.cache_write
        return {
            "input_tokens": self._answer.input_tokens - read - write,
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


def _add_whole(content: list[dict[str, Any]], kind: Kind, tool: ToolCall | None, text: str) -> None:
    """Add what a run of steps is in the content of a whole message."""
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


def _stop_reason(end: End) -> str:
    return "end_turn" if end.stop_reason == "cancelled" else end.stop_reason


def _error(status: int, message: str) -> dict[str, Any]:
    details = {"details": _DETAILS[message]} if message in _DETAILS else {}
    return {"type": "error", "error": {"type": _ERRORS.get(status, "api_error"), "message": message, **details}}
