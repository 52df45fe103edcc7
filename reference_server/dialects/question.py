"""What every dialect provides: a `Question`, the validated body of a request, and the `Writer` of its answer.

A question that does not follow its protocol is refused with the place of the fault, as `messages.0.content.1.text: …`.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Literal, NoReturn, Protocol

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart
from streamgauge.reference_server.model.input import ModelInput
from streamgauge.reference_server.model.steps import Step

Framing = Literal["sse", "ndjson"]  # server-sent events, or a JSON document on each line
SEPARATORS: dict[Framing, bytes] = {"sse": b"\n\n", "ndjson": b"\n"}  # what ends an event

MOST_STOPS = 64  # stop sequences of a question: the whole answer is searched for each, which stops all streams

MOST_TOOLS = 128  # tools of a question: the whole prompt is read for each, which stops all streams


class Writer(Protocol):
    """Writes one answer. It gets the steps in their order and remembers what it has opened and not yet closed."""

    def opening(self) -> bytes:
        """The events before the first step."""

    def write(self, step: Step) -> bytes:
        """The events of one step; b"" where the dialect has none for it."""

    def closing(self, end: AnswerEnd) -> bytes:
        """The events after the last step."""

    def error(self, status: int, message: str) -> bytes:
        """The event of an error in the middle of the stream. Nothing comes after it."""

    def whole(self, steps: Iterable[Step], end: AnswerEnd) -> bytes:
        """The answer as one JSON document instead of events."""


class Question(BaseModel):
    """The body of a request. Unknown fields are allowed, as on the server of a real model."""

    request_id_header: ClassVar[str]
    overloaded: ClassVar[int]  # the status for "too many requests at once"
    framing: ClassVar[Framing] = "sse"
    has_comments: ClassVar[bool] = True  # its clients skip comments, so that a silent stream can be kept alive
    has_ids: ClassVar[bool] = True  # its events can have ids, so that an answer can be resumed
    stream: bool

    @classmethod
    def speaks(cls, body: bytes) -> bool:  # noqa: ARG003 - a dialect with a path of its own need not look
        """Whether this body is of this dialect, and not of one after it that has the same path."""
        return True

    @property
    def in_background(self) -> bool:
        """Whether the answer is generated to its end although its client leaves, unless it is cancelled."""
        return False

    def model_input(self) -> ModelInput:
        raise NotImplementedError

    def writer(self, start: AnswerStart) -> Writer:
        raise NotImplementedError

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:
        """The JSON document of an error that is the whole answer."""
        raise NotImplementedError


def refuse(fault: str) -> NoReturn:
    """Refuse the request with this sentence, from a validator or from `Question.model_input`."""
    raise PydanticCustomError("refused", "{fault}", {"fault": fault})
