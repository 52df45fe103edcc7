"""AG-UI 1.0: a run of an agent as unnamed events with typed data, from `RUN_STARTED` to `RUN_FINISHED` or `RUN_ERROR`.

https://docs.ag-ui.com/concepts/events. All tools are the client's. The protocol has no limit of tokens and no stop
reason: a run that was cut at a limit is a success.
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from streamgauge.reference_server.dialects.as_chat import chat_question
from streamgauge.reference_server.dialects.events import Deltas, blocks, encode, event
from streamgauge.reference_server.dialects.openai_chat import Call, ChatQuestion
from streamgauge.reference_server.dialects.question import Question
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.steps import Kind, Step, ToolCall


class Said(BaseModel):
    role: Literal["developer", "system", "user"]
    content: str | list[dict[str, Any]]

    def as_chat(self) -> dict[str, Any]:
        return {"role": self.role, "content": self.content}


class AssistantMessage(BaseModel):
    role: Literal["assistant"]
    content: str | list[dict[str, Any]] | None = None
    toolCalls: list[Call] = Field(default_factory=list)  # noqa: N815 - the protocol's name

    def as_chat(self) -> dict[str, Any]:
        return {
            "role": "assistant",
            "content": self.content,
            "tool_calls": [call.model_dump() for call in self.toolCalls],
        }


class ToolMessage(BaseModel):
    role: Literal["tool"]
    toolCallId: str = Field(min_length=1)  # noqa: N815 - the protocol's name
    content: str | list[dict[str, Any]]

    def as_chat(self) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": self.toolCallId, "content": self.content}


class Shown(BaseModel):
    """What the person saw besides the conversation. The model does not need it."""

    role: Literal["reasoning", "activity"]

    def as_chat(self) -> None:
        return None


def _tag(message: Any) -> str | None:
    role = message.get("role") if isinstance(message, dict) else getattr(message, "role", None)
    tags = {"assistant": "assistant", "tool": "tool", "reasoning": "shown", "activity": "shown"}
    return tags.get(role, "said") if isinstance(role, str) else None


Message = Annotated[
    Annotated[Said, Tag("said")]
    | Annotated[AssistantMessage, Tag("assistant")]
    | Annotated[ToolMessage, Tag("tool")]
    | Annotated[Shown, Tag("shown")],
    Discriminator(_tag, custom_error_type="unknown_message", custom_error_message="the message has no role"),
]


class Tool(BaseModel):
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any] | None = None


class ForwardedProps(BaseModel):
    """What the application tells its agent, for which the protocol has no place."""

    max_tokens: int | None = Field(default=None, ge=1)
    thinking: bool = False


class RunQuestion(Question):
    """The protocol's RunAgentInput."""

    request_id_header: ClassVar[str] = "x-request-id"
    overloaded: ClassVar[int] = 503

    threadId: str  # noqa: N815 - the protocol's name
    runId: str  # noqa: N815 - the protocol's name
    messages: list[Message] = Field(min_length=1)
    tools: list[Tool] | None = None
    forwardedProps: ForwardedProps | None = None  # noqa: N815 - the protocol's name
    stream: bool = True  # not the protocol's, which only streams

    @model_validator(mode="after")
    def _conversation(self) -> "RunQuestion":
        self.as_chat()
        return self

    def as_chat(self) -> ChatQuestion:
        """The same question as one of OpenAI chat completions."""
        props = self.forwardedProps or ForwardedProps()
        tools = [{"type": "function", "function": tool.model_dump(exclude_none=True)} for tool in self.tools or ()]
        return chat_question(
            stop=[],
            model="agent",
            messages=[said for message in self.messages if (said := message.as_chat()) is not None],
            tools=tools,
            reasoning_effort="medium" if props.thinking else None,
            max_completion_tokens=props.max_tokens,
        )

    def model_input(self) -> ModelInput:
        return self.as_chat().model_input()

    def writer(self, start: AnswerStart) -> "RunWriter":
        return RunWriter(self.threadId, self.runId, start)

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:  # noqa: ARG003 - the header has the id
        return {"error": {"message": message, "code": status}}


class RunWriter:
    def __init__(self, thread: str, run: str, start: AnswerStart) -> None:
        self._run = {"threadId": thread, "runId": run}
        self._start = start
        self._messages = 0  # that have begun
        self._calls: list[str] = []  # ids of the client's tools that the model calls
        self._kind: Kind | None = None  # of the steps in the open message; None: no message is open
        self._tool = ""  # the id of the tool whose input is in the open message
        self._deltas = Deltas(b'""')

    def opening(self) -> bytes:
        return event({"type": "RUN_STARTED", **self._run})

    def write(self, step: Step) -> bytes:
        if step.kind == "tool_end" and step.tool is not None:
            result = {"messageId": self._message_id(), "toolCallId": step.tool.id, "content": step.tool.result}
            return self._close() + event({"type": "TOOL_CALL_RESULT", **result, "role": "tool"})
        if step.kind not in _CONTENT or (step.kind == "tool_input" and step.tool is None):
            return b""
        opened = b""
        if step.kind != self._kind or (step.tool is not None and step.tool.id != self._tool):
            opened = self._close() + self._open(step)
        return opened + self._deltas[step.text]

    def closing(self, end: AnswerEnd) -> bytes:
        self._start = end.start or self._start
        return self._close() + event(self._finished(end))

    def error(self, status: int, message: str) -> bytes:
        return event({"type": "RUN_ERROR", "message": message, "code": str(status)})

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        """The last event, with the text as the run's result. The protocol itself has no answers in one piece."""
        self._start = end.start or self._start
        text = ""
        for kind, tool, part in blocks(steps):
            text += part if kind == "text" else ""
            if kind == "tool_input" and tool is not None:
                self._note_call(tool)
        return encode(self._finished(end) | {"result": text})

    def _finished(self, end: AnswerEnd) -> dict[str, Any]:
        outcome: dict[str, Any] = {"type": "cancelled" if end.stop_reason == "cancelled" else "success"}
        if end.stop_reason == "tool_use":
            outcome["pendingToolCallIds"] = self._calls
        return {"type": "RUN_FINISHED", **self._run, "outcome": outcome, "usage": self._usage(end)}

    def _open(self, step: Step) -> bytes:
        self._kind, self._tool = step.kind, step.tool.id if step.tool else ""
        self._messages += 1
        place = self._place()
        self._deltas = Deltas(event({"type": _CONTENT[step.kind], **place, "delta": ""}))
        if step.tool is not None:
            self._note_call(step.tool)
            return event({"type": "TOOL_CALL_START", **place, "toolCallName": step.tool.name})
        if step.kind == "text":
            return event({"type": "TEXT_MESSAGE_START", **place, "role": "assistant"})
        started = {"type": "REASONING_MESSAGE_START", **place, "role": "reasoning"}
        return event({"type": "REASONING_START", **place}) + event(started)

    def _close(self) -> bytes:
        kind = self._kind
        self._kind = None
        if kind is None:
            return b""
        return b"".join(event({"type": name, **self._place(kind)}) for name in _ENDS[kind])

    def _place(self, kind: Kind | None = None) -> dict[str, str]:
        """What the open message, or the open call, is known by."""
        tool = (kind or self._kind) == "tool_input"
        return {"toolCallId": self._tool} if tool else {"messageId": self._message_id()}

    def _message_id(self) -> str:
        return f"msg_{self._start.id}{self._messages}"

    def _note_call(self, tool: ToolCall) -> None:
        if tool.client_side:
            self._calls.append(tool.id)

    def _usage(self, end: AnswerEnd) -> list[dict[str, Any]]:
        start = self._start
        return [{
            "inputTokens": start.input_tokens,
            "outputTokens": end.output_tokens,
            "totalTokens": start.input_tokens + end.output_tokens,
            "reasoningTokens": end.thinking_tokens,
            "cachedInputTokens": start.cache_read,
            "cacheWriteInputTokens": start.cache_write,
        }]  # fmt: skip


_CONTENT = {  # the event of a token, by its kind
    "text": "TEXT_MESSAGE_CONTENT",
    "thinking": "REASONING_MESSAGE_CONTENT",
    "tool_input": "TOOL_CALL_ARGS",
}
_ENDS = {  # the events that end what is open
    "text": ["TEXT_MESSAGE_END"],
    "thinking": ["REASONING_MESSAGE_END", "REASONING_END"],
    "tool_input": ["TOOL_CALL_END"],
}
