"""How questions and answers look on the wire: one file per protocol. No I/O, no time.

A dialect is a `Question`, the validated body of a request, and the `Writer` that it makes for its answer. A question
that is not of its protocol is refused with the place of the fault, as `messages.0.content.1.text: …`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, ClassVar, NoReturn, Protocol

import msgspec
from pydantic import BaseModel
from pydantic_core import PydanticCustomError

from streamgauge.reference_server.model import Ask, Kind, Step, StopReason, ToolCall


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of an answer before its first token."""

    id: str  # unique; letters and digits
    created: int  # seconds since 1970
    input_tokens: int  # of the whole prompt, cached or not
    cache_read: int = 0  # of these: what the prompt cache had
    cache_write: int = 0  # of these: what it has from now on


@dataclass(frozen=True, slots=True)
class End:
    """What is known of it after its last. Tokens are those that were generated, delivered or not."""

    stop_reason: StopReason
    output_tokens: int
    thinking_tokens: int = 0  # of these
    stop_sequence: str | None = None  # the one that ended it
    answer: Answer | None = None  # where its input came to more than at first: several turns of a real model


class Writer(Protocol):
    """Writes one answer, its steps in their order; it remembers what it has opened and not yet closed."""

    def opening(self) -> bytes:
        """The events before the first step."""

    def write(self, step: Step) -> bytes:
        """The events of one step; b"" where the dialect says nothing of it."""

    def closing(self, end: End) -> bytes:
        """The events after the last step."""

    def error(self, status: int, message: str) -> bytes:
        """The event of an error in the middle of the stream, after which nothing comes."""

    def whole(self, steps: Iterable[Step], end: End) -> bytes:
        """The answer as one JSON document instead."""


class Question(BaseModel):
    """What the routes need of a request. Fields that we do not use are let pass, as with a real model's server."""

    request_id_header: ClassVar[str]
    overloaded: ClassVar[int]  # the status that says "too many at once"
    stream: bool

    def ask(self) -> Ask:
        """What the model is asked."""
        raise NotImplementedError

    def writer(self, answer: Answer) -> Writer:
        raise NotImplementedError

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:
        """The JSON document of an error, when it is the whole answer."""
        raise NotImplementedError


def refuse(fault: str) -> NoReturn:
    """In a validator, or in `ask`: this part of the body is wrong, and the request is refused with this sentence."""
    raise PydanticCustomError("refused", "{fault}", {"fault": fault})


def encode(document: Any) -> bytes:
    return msgspec.json.encode(document)


@lru_cache(maxsize=4096)
def quoted(text: str) -> bytes:
    """`text` as a JSON string. The vocabulary is small, so a token is encoded once in the server's life."""
    return msgspec.json.encode(text)


def event(document: Any, name: str = "") -> bytes:
    """One server-sent event with a JSON document as its data."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + encode(document) + b"\n\n"


class Deltas(dict[str, bytes]):
    """The events that bring a token, by its text, where they are the same in every answer: each is made once.

    The vocabulary is small; what is said besides it is not kept.
    """

    _MOST = 1024

    def __init__(self, empty: bytes) -> None:
        super().__init__()
        self._before, self._after = around_text(empty)

    def __missing__(self, text: str) -> bytes:
        made = self._before + encode(text) + self._after
        if len(self) < self._MOST:
            self[text] = made
        return made


def around_text(empty: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the last empty JSON string of an event: between them goes each token's text."""
    before, _, after = empty.rpartition(b'""')
    return before, after


def blocks(steps: Iterable[Step]) -> Iterator[tuple[Kind, ToolCall | None, str]]:
    """The runs of steps that belong together, each with its whole text: a thought, a paragraph, one tool's input."""
    for (kind, _), together in groupby(steps, key=lambda step: (step.kind, step.tool and step.tool.id)):
        run = list(together)
        yield kind, run[-1].tool, "".join(step.text for step in run)


def joined(*contents: str | list[dict[str, Any]]) -> str:
    """The text of messages' contents, line by line. A content is a string, or blocks of which some have text."""
    lines = []
    for content in contents:
        said = [{"text": content}] if isinstance(content, str) else content
        lines += [text for block in said if isinstance(text := block.get("text"), str) and text]
    return "\n".join(lines)
