"""Each dialect of the reference server, with the harness's protocol that reads it."""

from collections.abc import Callable, Sequence
from typing import Any

import httpx

from streamgauge.harness.drive.protocols import PROTOCOLS, Meaning, Protocol
from streamgauge.harness.drive.protocols import Answer as Reported
from streamgauge.harness.drive.reading import sse
from streamgauge.reference_server.dialects.ag_ui import RunQuestion
from streamgauge.reference_server.dialects.ai_sdk import UiQuestion
from streamgauge.reference_server.dialects.anthropic_messages import MessagesQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.openai_responses import ResponsesQuestion
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.dialects.question import Question, Writer
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.steps import Step

# The dialects of which `in_dialect` can write a body. The others: tests/socket/test_table_dialects.py.
PATHS = ("/v1/messages", "/v1/chat/completions", "/v1/responses", "/chat/stream", "/api/chat", "/agent")
ASKED: dict[str, Any] = {"model": "m", "max_tokens": 5000, "messages": [{"role": "user", "content": "Why?"}]}
ANTHROPIC = MessagesQuestion.model_validate({**ASKED, "stream": True})
OPENAI = ChatQuestion.model_validate({**ASKED, "stream": True, "stream_options": {"include_usage": True}})
RESPONSES = ResponsesQuestion.model_validate({"model": "m", "max_output_tokens": 5000, "input": "Why?", "stream": True})
PLAIN = PlainQuestion.model_validate(ASKED)
UI = UiQuestion.model_validate({"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": "Why?"}]}]})
RUN = RunQuestion.model_validate({"threadId": "t", "runId": "r", "messages": ASKED["messages"]})
DIALECTS: list[tuple[Question, Protocol]] = [
    (ANTHROPIC, PROTOCOLS["anthropic_messages"]),
    (OPENAI, PROTOCOLS["openai_chat"]),
    (RESPONSES, PROTOCOLS["openai_responses"]),
    (PLAIN, PROTOCOLS["plain_sse"]),
    (UI, PROTOCOLS["ai_sdk"]),
    (RUN, PROTOCOLS["ag_ui"]),
]
ANSWER = AnswerStart("a1", 1_795_424_400, input_tokens=3000, cache_read=1200, cache_write=800)
END = AnswerEnd("end_turn", output_tokens=7, thinking_tokens=2)


def _responses(body: dict[str, Any]) -> dict[str, Any]:
    names = {"messages": "input", "max_tokens": "max_output_tokens"}
    return {names.get(name, name): value for name, value in body.items()}


def _ui(body: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(body.get("messages"), list):
        return body
    said = [{**each, "parts": [{"type": "text", "text": each["content"]}]} for each in body["messages"]]
    return {**body, "messages": said}


def _run(body: dict[str, Any]) -> dict[str, Any]:
    props = {"max_tokens": body["max_tokens"]} if "max_tokens" in body else {}
    return {"threadId": "t", "runId": "r", **body, "forwardedProps": props}


# By path: how the dialect writes what a question of OpenAI chat completions says. The others read that as it is.
_OWN_WORDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "/v1/responses": _responses,
    "/api/chat": _ui,
    "/agent": _run,
}

# By path: what is in the terminal event, and in no other.
TERMINAL = {
    "/v1/messages": '"message_stop"',
    "/v1/chat/completions": "[DONE]",
    "/v1/responses": '"response.completed"',
    "/chat/stream": "[DONE]",
    "/api/chat": "[DONE]",
    "/agent": '"RUN_FINISHED"',
}


def in_dialect(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A question with `messages`, `max_tokens` and so on, as the dialect at this path writes it."""
    return _OWN_WORDS[path](body) if path in _OWN_WORDS else body


def complaint(refusal: httpx.Response) -> str:
    """The words of an error that is the whole answer."""
    error = refusal.json()["error"]
    return str(error if isinstance(error, str) else error["message"])


def stream(writer: Writer, steps: Sequence[Step], end: AnswerEnd = END) -> bytes:
    return writer.opening() + b"".join(map(writer.write, steps)) + writer.closing(end)


def read(protocol: Protocol, body: bytes) -> tuple[list[Meaning], Reported]:
    reported = Reported()
    return [protocol.meaning_of(event, reported) for event in sse.Decoder().feed(body)], reported
