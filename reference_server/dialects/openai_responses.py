"""OpenAI Responses: named and numbered events, items with parts, the whole answer once more in the last event.

https://platform.openai.com/docs/api-reference/responses. Thoughts are sent as the summary of a reasoning item. All
tools are the client's. The server keeps no answers, so a question brings its whole conversation. A streamed answer may
be asked for in the background: then only a cancel by its id stops it, and not that its client leaves.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from streamgauge.reference_server.dialects.as_chat import chat_question
from streamgauge.reference_server.dialects.events import blocks, encode, event, quoted
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion, NamedFunction
from streamgauge.reference_server.dialects.question import Question, refuse
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.steps import Kind, Step, ToolCall

_INCOMPLETE = {  # the reason, by the model's stop reason; all other answers are complete
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "refusal": "content_filter",
}


class Message(BaseModel):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]

    def as_chat(self) -> dict[str, Any]:
        content = self.content if isinstance(self.content, str) else [_chat_part(part) for part in self.content]
        return {"role": self.role, "content": content}


class FunctionCall(BaseModel):
    type: Literal["function_call"]
    call_id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    arguments: str

    def as_chat(self) -> dict[str, Any]:
        called = {"name": self.name, "arguments": self.arguments}
        return {"role": "assistant", "tool_calls": [{"id": self.call_id, "type": "function", "function": called}]}


class FunctionCallOutput(BaseModel):
    type: Literal["function_call_output"]
    call_id: str = Field(min_length=1)
    output: str | list[dict[str, Any]]

    def as_chat(self) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": self.call_id, "content": self.output}


class Reasoning(BaseModel):
    """A thought of an earlier answer. The model does not need it."""

    type: Literal["reasoning"]

    def as_chat(self) -> None:
        return None


def _tag(item: Any) -> str | None:
    kind = item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", None)
    return kind if isinstance(kind, str) else None


Item = Annotated[
    Annotated[Message, Tag("message")]
    | Annotated[FunctionCall, Tag("function_call")]
    | Annotated[FunctionCallOutput, Tag("function_call_output")]
    | Annotated[Reasoning, Tag("reasoning")],
    Discriminator(_tag, custom_error_type="unknown_item", custom_error_message="there is no item of this type"),
]


def _as_items(given: Any) -> Any:
    """A string stands for one message."""
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


Items = Annotated[list[Item], Field(min_length=1), BeforeValidator(_as_items, json_schema_input_type=str | list[Item])]


class Tool(BaseModel):
    type: Literal["function"]
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None


class NamedTool(NamedFunction):
    type: Literal["function"]


class ReasoningEffort(BaseModel):
    effort: str | None = None


class ResponsesQuestion(Question):
    request_id_header: ClassVar[str] = "x-request-id"
    overloaded: ClassVar[int] = 503

    model: str = Field(min_length=1, max_length=256)
    input: Items
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    tools: list[Tool] = Field(default_factory=list)
    tool_choice: Literal["none", "auto", "required"] | NamedTool = "auto"
    reasoning: ReasoningEffort | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    store: bool | None = None
    stream: bool = False

    @model_validator(mode="after")
    def _conversation(self) -> "ResponsesQuestion":
        for name in ("previous_response_id", "conversation"):
            if getattr(self, name):
                refuse(f"{name}: this server keeps no answers; send all items as input")
        if self.background and not self.stream:
            refuse('background: this server keeps no answers; ask for a stream, with "stream": true')
        if self.background and self.store is False:
            refuse('background: an answer in the background needs "store": true')
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.name not in {tool.name for tool in self.tools}:
            refuse(f"Tool choice {self.tool_choice.name!r} not found in 'tools' parameter.")
        _check_calls(self.input)
        return self

    @property
    def in_background(self) -> bool:
        return bool(self.background)

    def as_chat(self) -> ChatQuestion:
        """The same question as one of OpenAI's older API."""
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        functions = [tool.model_dump(exclude={"type"}, exclude_none=True) for tool in self.tools]
        choice: Any = self.tool_choice
        if isinstance(choice, NamedTool):
            choice = {"type": "function", "function": {"name": choice.name}}
        return chat_question(
            stop=[],
            model=self.model,
            messages=system + list(_chat_messages(self.input)),
            max_completion_tokens=self.max_output_tokens,
            tools=[{"type": "function", "function": function} for function in functions],
            tool_choice=choice,
            reasoning_effort=None if self.reasoning is None else self.reasoning.effort or "medium",
            temperature=self.temperature,
        )

    def model_input(self) -> ModelInput:
        return self.as_chat().model_input()

    def writer(self, start: AnswerStart) -> "ResponsesWriter":
        return ResponsesWriter(self, start)

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:
        return ChatQuestion.error(status, message, request_id)


class ResponsesWriter:
    def __init__(self, question: ResponsesQuestion, start: AnswerStart) -> None:
        self._question = question
        self._start = start
        self._number = 0  # of the next event
        self._output: list[dict[str, Any]] = []  # the items; the last one may be open
        self._kind: Kind | None = None  # of the steps in the open item; None: no item is open
        self._tool = ""  # the id of the tool whose input is in the open item
        self._texts: list[str] = []  # of the open item
        self._delta = b"", b""  # what comes before the number of an event with a token, and before its text

    def opening(self) -> bytes:
        return self._event("response.created", response=self._response("in_progress")) + self._event(
            "response.in_progress", response=self._response("in_progress")
        )

    def write(self, step: Step) -> bytes:
        if step.kind not in _ITEMS or (step.kind == "tool_input" and step.tool is None):
            return b""
        opened = b""
        if step.kind != self._kind or (step.tool is not None and step.tool.id != self._tool):
            opened = self._close() + self._open(step)
        self._texts.append(step.text)
        before, after = self._delta
        self._number += 1
        return opened + before + b"%d" % (self._number - 1) + after + quoted(step.text) + b"}\n\n"

    def closing(self, end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        closed = self._close()
        status = _status(end)
        return closed + self._event(f"response.{status}", response=self._response(status, end))

    def error(self, status: int, message: str) -> bytes:
        # Not numbered on: an answer that can be resumed asks for this event before the first.
        failed = {**self._response("failed"), "error": {"code": _code(status), "message": message}}
        data = {"type": "response.failed", "sequence_number": self._number, "response": failed}
        return event(data, "response.failed")

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        for kind, tool, text in blocks(steps):
            if kind in _ITEMS and (kind != "tool_input" or tool is not None):
                self._output.append(_item(kind, self._id(kind), tool, text, "completed"))
        return encode(self._response(_status(end), end))

    def _open(self, step: Step) -> bytes:
        """The events that begin an item. Remembers what comes around its tokens."""
        self._kind, self._tool = step.kind, step.tool.id if step.tool else ""
        index, id = len(self._output), self._id(step.kind)
        self._output.append(_item(step.kind, id, step.tool, None, "in_progress"))
        added = self._event("response.output_item.added", output_index=index, item=self._output[-1])
        place = {"item_id": id, "output_index": index, **_PLACES.get(step.kind, {})}
        if step.kind in _PARTS:
            name, part = _PARTS[step.kind]
            added += self._event(f"response.{name}.added", **place, part=part(""))
        more: dict[str, Any] = {"logprobs": []} if step.kind == "text" else {}
        name = f"response.{_ITEMS[step.kind]}.delta"
        before, _, after = event({"type": name, "sequence_number": 0, **place, **more, "delta": ""}, name).partition(
            b'"sequence_number":0'
        )
        self._delta = before + b'"sequence_number":', after.removesuffix(b'""}\n\n')
        return added

    def _close(self) -> bytes:
        """The events that end the open item."""
        kind = self._kind
        if kind is None:
            return b""
        text, index, opened = "".join(self._texts), len(self._output) - 1, self._output[-1]
        place = {"item_id": opened["id"], "output_index": index, **_PLACES.get(kind, {})}
        name = _ITEMS[kind]
        if kind == "tool_input":
            done = self._event(f"response.{name}.done", **place, name=opened["name"], arguments=text)
        else:
            part_name, part = _PARTS[kind]
            more: dict[str, Any] = {"logprobs": []} if kind == "text" else {}
            done = self._event(f"response.{name}.done", **place, **more, text=text)
            done += self._event(f"response.{part_name}.done", **place, part=part(text))
        self._output[-1] = _filled(opened, kind, text)
        self._kind = None
        self._texts.clear()
        return done + self._event("response.output_item.done", output_index=index, item=self._output[-1])

    def _event(self, name: str, /, **fields: Any) -> bytes:
        self._number += 1
        return event({"type": name, "sequence_number": self._number - 1, **fields}, name)

    def _id(self, kind: Kind) -> str:
        return f"{_PREFIXES[kind]}_{self._start.id}{len(self._output)}"

    def _response(self, status: str, end: AnswerEnd | None = None) -> dict[str, Any]:
        question = self._question
        reason = None if end is None else _INCOMPLETE.get(end.stop_reason)
        return {
            "id": f"resp_{self._start.id}",
            "object": "response",
            "created_at": self._start.created,
            "status": status,
            "background": question.in_background,
            "error": None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "instructions": question.instructions,
            "max_output_tokens": question.max_output_tokens,
            "metadata": {},
            "model": question.model,
            "output": self._output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "store": False,
            "temperature": question.temperature,
            "tool_choice": question.tool_choice if isinstance(question.tool_choice, str) else "required",
            "tools": [tool.model_dump() | {"strict": False} for tool in question.tools],
            "top_p": None,
            "usage": None if end is None else self._usage(end),
        }

    def _usage(self, end: AnswerEnd) -> dict[str, Any]:
        start = self._start
        return {
            "input_tokens": start.input_tokens,
            "input_tokens_details": {"cached_tokens": start.cache_read, "cache_write_tokens": start.cache_write},
            "output_tokens": end.output_tokens,
            "output_tokens_details": {"reasoning_tokens": end.thinking_tokens},
            "total_tokens": start.input_tokens + end.output_tokens,
        }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary_part(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


_ITEMS = {  # for each kind of token, the name of its events
    "text": "output_text",
    "thinking": "reasoning_summary_text",
    "tool_input": "function_call_arguments",
}
_PREFIXES = {"text": "msg", "thinking": "rs", "tool_input": "fc"}  # of an item's id
_PARTS = {"text": ("content_part", _text_part), "thinking": ("reasoning_summary_part", _summary_part)}
_PLACES: dict[str, dict[str, int]] = {"text": {"content_index": 0}, "thinking": {"summary_index": 0}}


def _item(kind: Kind, id: str, tool: ToolCall | None, text: str | None, status: str) -> dict[str, Any]:
    """An item with this text; None: without any yet."""
    if kind == "tool_input":
        assert tool is not None
        call = {"call_id": f"call_{tool.id}", "name": tool.name, "arguments": text or ""}
        return {"id": id, "type": "function_call", "status": status, **call}
    if kind == "thinking":
        return {"id": id, "type": "reasoning", "summary": [] if text is None else [_summary_part(text)]}
    content = [] if text is None else [_text_part(text)]
    return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}


def _filled(item: dict[str, Any], kind: Kind, text: str) -> dict[str, Any]:
    """The item as it is at its end."""
    if kind == "thinking":
        return {**item, "summary": [_summary_part(text)]}
    filled = {"arguments": text} if kind == "tool_input" else {"content": [_text_part(text)]}
    return {**item, "status": "completed", **filled}


def _status(end: AnswerEnd) -> str:
    return "incomplete" if end.stop_reason in _INCOMPLETE else "completed"


def _code(status: int) -> str:
    return "rate_limit_exceeded" if status in {429, 529} else "server_error"


def _chat_part(part: dict[str, Any]) -> dict[str, Any]:
    match part:
        case {"type": "input_text" | "output_text", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "refusal", "refusal": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "input_image", "image_url": str(url)}:
            return {"type": "image_url", "image_url": {"url": url}}
    return part


def _chat_messages(items: list[Item]) -> Iterator[dict[str, Any]]:
    """The items as messages; calls that follow each other are of one message."""
    calls: list[dict[str, Any]] = []
    for item in items:
        message = item.as_chat()
        if message is None:
            continue
        if "tool_calls" in message:
            calls += message["tool_calls"]
            continue
        if calls:
            yield {"role": "assistant", "tool_calls": calls}
            calls = []
        yield message
    if calls:
        yield {"role": "assistant", "tool_calls": calls}


def _check_calls(items: list[Item]) -> None:
    called: set[str] = set()
    answered: set[str] = set()
    for item in items:
        if isinstance(item, FunctionCall):
            called.add(item.call_id)
        if isinstance(item, FunctionCallOutput):
            if item.call_id not in called:
                refuse(f"No tool call found for function call output with call_id {item.call_id}.")
            answered.add(item.call_id)
    if called - answered:
        refuse(f"No tool output found for function call {', '.join(sorted(called - answered))}.")
