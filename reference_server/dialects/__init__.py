"""How questions and answers look on the wire: one file per protocol. No I/O, no time.

A dialect is a `Question`: the validated body of a request, which can write its own answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import msgspec
from pydantic import BaseModel

from reference_server.model import Plan


@dataclass(frozen=True, slots=True)
class Answer:
    id: str  # unique; letters and digits
    created: int  # seconds since 1970
    plan: Plan


class Question(BaseModel):
    """What the routes need of a request. Fields that we do not use are let pass, as with a real model's server."""

    request_id_header: ClassVar[str]
    overloaded: ClassVar[int]  # the status that says "too many at once"
    stream: bool

    def prompt(self) -> str:
        """All text that was sent."""
        raise NotImplementedError

    def limit(self) -> int | None:
        """The most tokens that the answer may have; None where the request does not say."""
        raise NotImplementedError

    def opening(self, answer: Answer) -> bytes:
        """The events before the first token."""
        raise NotImplementedError

    def events(self, answer: Answer) -> Iterator[bytes]:
        """One event for each token."""
        raise NotImplementedError

    def closing(self, answer: Answer) -> bytes:
        """The events after the last token."""
        raise NotImplementedError

    def whole(self, answer: Answer) -> bytes:
        """The answer as one JSON document."""
        raise NotImplementedError

    @classmethod
    def error(cls, status: int, message: str, request_id: str) -> dict[str, Any]:
        """The JSON document of an error."""
        raise NotImplementedError


def encode(document: Any) -> bytes:
    return msgspec.json.encode(document)


@lru_cache(maxsize=4096)
def quoted(text: str) -> bytes:
    """`text` as a JSON string. The vocabulary is small, so a token is encoded once in the server's life."""
    return msgspec.json.encode(text)


def event(document: Any, name: str = "") -> bytes:
    """One server-sent event with a JSON document as its data."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + encode(document) + b"\n\n"


def joined(*contents: str | list[dict[str, Any]]) -> str:
    """The text of messages' contents, line by line. A content is a string, or blocks of which some have text."""
    lines = []
    for content in contents:
        blocks = [{"text": content}] if isinstance(content, str) else content
        lines += [text for block in blocks if isinstance(text := block.get("text"), str) and text]
    return "\n".join(lines)
