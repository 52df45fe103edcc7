"""Anthropic Messages: named events, content blocks, usage at both ends."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from reference_server.dialects import Answer, Question, encode, event, joined, quoted

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_BEFORE, _AFTER = event(
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ""}}, "content_block_delta"
).split(b'""')


class Message(BaseModel):
    role: Literal["user", "assistant"]
    content: str | list[dict[str, Any]]


class MessagesQuestion(Question):
    request_id_header: ClassVar[str] = "request-id"
    overloaded: ClassVar[int] = 529

    model: str = Field(min_length=1, max_length=256)
    max_tokens: int = Field(ge=1)
    messages: list[Message] = Field(min_length=1)
    system: str | list[dict[str, Any]] = ""
    stream: bool = False

    def prompt(self) -> str:
        return joined(self.system, *(message.content for message in self.messages))

    def limit(self) -> int:
        return self.max_tokens

    def opening(self, answer: Answer) -> bytes:
        return (
            event({"type": "message_start", "message": self._message(answer, [], None, 1)}, "message_start")
            + event(
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                "content_block_start",
            )
            + event({"type": "ping"}, "ping")
        )

    def events(self, answer: Answer) -> Iterator[bytes]:
        return (_BEFORE + quoted(text) + _AFTER for text in answer.plan.texts)

    def closing(self, answer: Answer) -> bytes:
        return (
            event({"type": "content_block_stop", "index": 0}, "content_block_stop")
            + event(
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": _stop_reason(answer), "stop_sequence": None},
                    "usage": {"output_tokens": len(answer.plan.texts)},
                },
                "message_delta",
            )
            + event({"type": "message_stop"}, "message_stop")
        )

    def whole(self, answer: Answer) -> bytes:
        content = [{"type": "text", "text": "".join(answer.plan.texts)}]
        return encode(self._message(answer, content, _stop_reason(answer), len(answer.plan.texts)))

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:
        kind = _ERRORS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}

    def _message(
        self, answer: Answer, content: list[dict[str, str]], stop_reason: str | None, output_tokens: int
    ) -> dict[str, Any]:
        return {
            "id": f"msg_{answer.id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": {
                "input_tokens": answer.plan.input_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": output_tokens,
            },
        }


def _stop_reason(answer: Answer) -> str:
    return "max_tokens" if answer.plan.capped else "end_turn"
