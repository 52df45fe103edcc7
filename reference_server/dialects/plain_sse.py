"""Plain SSE, as many teams write it by hand: the text itself in `data:`, a JSON event with the usage, `[DONE]`.

A token's line breaks become several `data:` lines of one event, and its leading space survives because one space
after the colon belongs to the syntax (WHATWG HTML, 9.2.6). A token that looked like a control event would be taken for
one; the vocabulary has none.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from reference_server.dialects import Answer, Question, encode, event, joined


class Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: str | list[dict[str, Any]]


class PlainQuestion(Question):
    request_id_header: ClassVar[str] = "x-request-id"
    overloaded: ClassVar[int] = 503

    messages: list[Message] = Field(min_length=1)
    system: str = ""
    max_tokens: int | None = Field(default=None, ge=1)
    stream: bool = True

    def prompt(self) -> str:
        return joined(self.system, *(message.content for message in self.messages))

    def limit(self) -> int | None:
        return self.max_tokens

    def opening(self, answer: Answer) -> bytes:  # noqa: ARG002 - this dialect says nothing before the text
        return b""

    def events(self, answer: Answer) -> Iterator[bytes]:
        return map(_text_event, answer.plan.texts)

    def closing(self, answer: Answer) -> bytes:
        return event({"done": True, **_usage(answer)}) + b"data: [DONE]\n\n"

    def whole(self, answer: Answer) -> bytes:
        return encode({"text": "".join(answer.plan.texts), **_usage(answer)})

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:
        return {"error": {"status": status, "message": message, "request_id": request_id}}


@lru_cache(maxsize=4096)
def _text_event(text: str) -> bytes:
    return b"".join(b"data: " + line.encode() + b"\n" for line in text.split("\n")) + b"\n"


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.plan.input_tokens,
        "output_tokens": len(answer.plan.texts),
        "stop_reason": "max_tokens" if answer.plan.capped else "end_turn",
    }
