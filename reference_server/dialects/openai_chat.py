"""OpenAI chat completions: unnamed chunks, a role before the text, usage on request, `[DONE]` at the end."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from reference_server.dialects import Answer, Question, encode, event, joined, quoted

_ERRORS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatQuestion(Question):
    request_id_header: ClassVar[str] = "x-request-id"
    overloaded: ClassVar[int] = 503

    model: str = Field(min_length=1, max_length=256)
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)  # the older name of the same
    stream: bool = False
    stream_options: StreamOptions | None = None

    def prompt(self) -> str:
        return joined(*(message.content or "" for message in self.messages))

    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def opening(self, answer: Answer) -> bytes:
        return event(self._chunk(answer, {"role": "assistant", "content": ""}))

    def events(self, answer: Answer) -> Iterator[bytes]:
        # The last pair of quotes that stands so: the model's name, which comes earlier, has its quotes escaped.
        before, _, after = event(self._chunk(answer, {"content": ""})).rpartition(b'{"content":""}')
        before, after = before + b'{"content":', b"}" + after
        return (before + quoted(text) + after for text in answer.plan.texts)

    def closing(self, answer: Answer) -> bytes:
        last = event(self._chunk(answer, {}, _finish_reason(answer)))
        if self._include_usage():
            last += event({**self._chunk(answer, {}), "choices": [], "usage": _usage(answer)})
        return last + b"data: [DONE]\n\n"

    def whole(self, answer: Answer) -> bytes:
        message = {"role": "assistant", "content": "".join(answer.plan.texts), "refusal": None}
        return encode(
            {
                "id": f"chatcmpl-{answer.id}",
                "object": "chat.completion",
                "created": answer.created,
                "model": self.model,
                "choices": [
                    {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(answer)}
                ],
                "usage": _usage(answer),
            }
        )

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:  # noqa: ARG003 - here it is a header only
        kind = _ERRORS.get(status, "invalid_request_error" if status < 500 else "server_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}

    def _include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def _chunk(self, answer: Answer, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        chunk = {
            "id": f"chatcmpl-{answer.id}",
            "object": "chat.completion.chunk",
            "created": answer.created,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
        }
        return {**chunk, "usage": None} if self._include_usage() else chunk


def _finish_reason(answer: Answer) -> str:
    return "length" if answer.plan.capped else "stop"


def _usage(answer: Answer) -> dict[str, int]:
    asked, given = answer.plan.input_tokens, len(answer.plan.texts)
    return {"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given}
