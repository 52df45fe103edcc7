"""Each dialect of the reference server, with the harness's protocol that reads it."""

from collections.abc import Sequence
from typing import Any

from streamgauge.harness.drive.protocols import PROTOCOLS, Meaning, Protocol
from streamgauge.harness.drive.protocols import Answer as Reported
from streamgauge.harness.drive.reading import sse
from streamgauge.reference_server.dialects.anthropic_messages import MessagesQuestion
from streamgauge.reference_server.dialects.openai_chat import ChatQuestion
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.dialects.question import Question, Writer
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.steps import Step

ASKED: dict[str, Any] = {"model": "m", "max_tokens": 5000, "messages": [{"role": "user", "content": "Why?"}]}
ANTHROPIC = MessagesQuestion.model_validate({**ASKED, "stream": True})
OPENAI = ChatQuestion.model_validate({**ASKED, "stream": True, "stream_options": {"include_usage": True}})
PLAIN = PlainQuestion.model_validate(ASKED)
DIALECTS: list[tuple[Question, Protocol]] = [
    (ANTHROPIC, PROTOCOLS["anthropic_messages"]),
    (OPENAI, PROTOCOLS["openai_chat"]),
    (PLAIN, PROTOCOLS["plain_sse"]),
]
ANSWER = AnswerStart("a1", 1_795_424_400, input_tokens=3000, cache_read=1200, cache_write=800)
END = AnswerEnd("end_turn", output_tokens=7, thinking_tokens=2)


def stream(writer: Writer, steps: Sequence[Step], end: AnswerEnd = END) -> bytes:
    return writer.opening() + b"".join(map(writer.write, steps)) + writer.closing(end)


def read(protocol: Protocol, body: bytes) -> tuple[list[Meaning], Reported]:
    reported = Reported()
    return [protocol.meaning_of(event, reported) for event in sse.Decoder().feed(body)], reported
