"""Gemini's generateContent and streamGenerateContent. https://ai.google.dev/api/generate-content

Each event repeats the usage so far, a function call comes whole, and nothing marks the end but a finish reason and the
end of the response. An error in mid-stream is bare JSON over several lines. The model's name is in the path. All tools
are the client's.
"""

import json
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from streamgauge.reference_server.dialects.as_chat import CallInOnePiece, Conversation, chat_question
from streamgauge.reference_server.dialects.events import blocks, encode, event
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.question import Question
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.steps import Step, ToolCall

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
_FINISH_REASONS = {  # `STOP` for all others
    "max_tokens": "MAX_TOKENS",
    "model_context_window_exceeded": "MAX_TOKENS",
    "refusal": "SAFETY",
}


class _Named(BaseModel):
    """Keys as the API writes them, or in snake case, which it also takes, and which google-genai sends in places."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class FunctionCall(_Named):
    name: str = Field(min_length=1)
    args: dict[str, Any] = Field(default={})


class FunctionResponse(_Named):
    name: str = Field(min_length=1)
    response: dict[str, Any] = Field(default={})


class Part(_Named):
    text: str | None = None
    thought: bool = False
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None


class Content(_Named):
    role: Literal["user", "model"] = "user"
    parts: list[Part] = Field(min_length=1)


class FunctionDeclaration(_Named):
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None


class Tool(_Named):
    function_declarations: list[FunctionDeclaration] = Field(default_factory=list)


class ThinkingConfig(_Named):
    include_thoughts: bool = False


class GenerationConfig(_Named):
    max_output_tokens: int | None = Field(default=None, ge=1)
    stop_sequences: list[str] = Field(default_factory=list, max_length=5)
    candidate_count: int = Field(default=1, ge=1, le=1)  # several answers are not simulated
    thinking_config: ThinkingConfig = Field(default_factory=ThinkingConfig)


class GeminiQuestion(Question):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    request_id_header: ClassVar[str] = "x-request-id"
    overloaded: ClassVar[int] = 503
    has_comments: ClassVar[bool] = False
    has_ids: ClassVar[bool] = False

    model: str = ""  # from the path
    contents: list[Content] = Field(min_length=1)
    system_instruction: Content | None = None
    tools: list[Tool] = Field(default_factory=list)
    generation_config: GenerationConfig = Field(default_factory=GenerationConfig)
    stream: Literal[True] = True  # as the path says

    def as_chat(self) -> ChatQuestion:
        said = Conversation()
        if self.system_instruction is not None:
            said.say("system", _texts(self.system_instruction))
        for content in self.contents:
            _add(said, content)
        config = self.generation_config
        return chat_question(
            model=self.model or "gemini",
            messages=said.messages,
            tools=[_tool(declared) for tool in self.tools for declared in tool.function_declarations],
            max_tokens=config.max_output_tokens,
            reasoning_effort="medium" if config.thinking_config.include_thoughts else None,
            stop=config.stop_sequences,
        )

    def model_input(self) -> ModelInput:
        return self.as_chat().model_input()

    def writer(self, start: AnswerStart) -> "GeminiWriter":
        return GeminiWriter(self.model, start)

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:  # noqa: ARG003 - the API has none
        return _error(status, message)


class WholeGeminiQuestion(GeminiQuestion):
    """What `generateContent` is asked: it answers in one piece."""

    stream: Literal[False] = False  # type: ignore[assignment]


class GeminiWriter:
    def __init__(self, model: str, start: AnswerStart) -> None:
        self._model = model
        self._start = start
        self._call = CallInOnePiece()
        self._tokens = 0  # written so far
        self._thoughts = 0  # of them

    def opening(self) -> bytes:
        return b""

    def write(self, step: Step) -> bytes:
        if step.kind not in {"text", "thinking", "tool_input"}:
            return b""
        self._tokens += 1
        if step.kind == "text":
            return self._event([{"text": step.text}])
        if step.kind == "thinking":
            self._thoughts += 1
            return self._event([{"text": step.text, "thought": True}])
        arguments = self._call.add(step.text)
        return b"" if arguments is None or step.tool is None else self._event([_call(step.tool, arguments)])

    def closing(self, end: AnswerEnd) -> bytes:
        self._ended(end)
        return self._event([{"text": ""}], _finish_reason(end))

    def error(self, status: int, message: str) -> bytes:
        return json.dumps(_error(status, message), indent=2).encode() + b"\n\n"

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        self._ended(end)
        parts = []
        for kind, tool, text in blocks(steps):
            if kind == "tool_input" and tool is not None:
                parts.append(_call(tool, tool.input))
            elif kind in {"text", "thinking"}:
                parts.append({"text": text, **({"thought": True} if kind == "thinking" else {})})
        return encode(self._response(parts, _finish_reason(end)))

    def _ended(self, end: AnswerEnd) -> None:
        self._start = end.start or self._start
        self._tokens, self._thoughts = end.output_tokens, end.thinking_tokens

    def _event(self, parts: list[dict[str, Any]], finish_reason: str | None = None) -> bytes:
        return event(self._response(parts, finish_reason))

    def _response(self, parts: list[dict[str, Any]], finish_reason: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish_reason is not None:
            candidate["finishReason"] = finish_reason
        return {
            "candidates": [candidate],
            "usageMetadata": self._usage(),
            "modelVersion": self._model,
            "responseId": self._start.id,
        }

    def _usage(self) -> dict[str, int]:
        start = self._start
        return {
            "promptTokenCount": start.input_tokens,
            "candidatesTokenCount": self._tokens - self._thoughts,
            "totalTokenCount": start.input_tokens + self._tokens,
            **({"cachedContentTokenCount": start.cache_read} if start.cache_read else {}),
            **({"thoughtsTokenCount": self._thoughts} if self._thoughts else {}),
        }


def _texts(content: Content) -> list[dict[str, Any]]:
    return [{"type": "text", "text": part.text} for part in content.parts if part.text and not part.thought]


def _add(said: Conversation, content: Content) -> None:
    """Add a turn to the conversation: results of tools, then what was said and called."""
    for part in content.parts:
        if part.function_response is not None:
            said.answer(part.function_response.name, part.function_response.response)
    calls = [(part.function_call.name, part.function_call.args) for part in content.parts if part.function_call]
    texts = _texts(content)
    if texts or calls:
        said.say("assistant" if content.role == "model" else "user", texts, calls)


def _tool(declared: FunctionDeclaration) -> dict[str, Any]:
    schema = declared.parameters_json_schema or _json_schema(declared.parameters or {})
    function = {"name": declared.name, "description": declared.description, "parameters": schema}
    return {"type": "function", "function": function}


def _json_schema(schema: Any) -> Any:
    """The API's own form of a schema, whose types are in capitals, as JSON Schema."""
    if isinstance(schema, list):
        return [_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    own = {"type": kind.lower()} if isinstance(kind, str) else {}
    return {key: _json_schema(value) for key, value in schema.items()} | own


def _call(tool: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"functionCall": {"id": tool.id, "name": tool.name, "args": arguments}}


def _finish_reason(end: AnswerEnd) -> str:
    return _FINISH_REASONS.get(end.stop_reason, "STOP")


def _error(status: int, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "message": message, "status": _STATUSES.get(status, "INTERNAL")}}
