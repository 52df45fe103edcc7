"""The interface of a protocol: how to ask, and what each event of the answer means. Pure.

The data comes from servers that may be broken or hostile. `understand` and `plain` raise nothing but `Malformed`. Of
a server's text they keep one printable line of limited length.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from streamgauge.harness.config.schema import ProtocolName, Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.record.arrivals import Kind

# What msgspec raises for data that is not the expected JSON; RecursionError for deeply nested brackets.
JSON_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Tokens = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]  # a count that JSON and SQLite represent exactly


class Malformed(ValueError):
    """Data that does not follow the protocol; the message is one short ASCII sentence with an excerpt."""


class Meaning(msgspec.Struct, frozen=True, gc=False):
    kind: Kind
    text: str = ""  # of content: what was generated
    error: str | None = None  # one line: an error that the server sent inside a 200
    ends: bool = False  # whether this is the terminal event

    @property
    def characters(self) -> int:
        return len(self.text)


class Answer(msgspec.Struct):
    """What the server has reported about its answer so far; None until it does."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    stop_reason: str | None = None  # one line of at most 100 characters


@dataclass(frozen=True, slots=True)
class Protocol:
    name: ProtocolName
    path: str
    headers: Mapping[str, str]  # in addition to content-type and accept
    # Occurs in the terminal event, so that data without it need not be decoded early; b"": any event may be terminal.
    terminal: bytes
    request: Callable[[Target, Prompt, bool], dict[str, Any]]  # (target, prompt, streamed) → the request's JSON body
    understand: Callable[[Event, Answer], Meaning]  # interprets one event, updates the Answer; raises Malformed
    plain: Callable[[bytes, Answer], Meaning]  # the same for the body of an answer that was not streamed


PING = Meaning(Kind.PING)
OTHER = Meaning(Kind.OTHER)
END = Meaning(Kind.OTHER, ends=True)


def line(text: str, limit: int) -> str:
    """A server's text as one printable line of at most `limit` characters."""
    printable = text[: 2 * limit]
    if not printable.isprintable():
        printable = "".join(c if c.isprintable() else " " for c in printable)
    return " ".join(printable.split())[:limit]


def failure(error: object) -> Meaning:
    """The meaning of an error event; `error` is its decoded JSON, of any shape."""
    return Meaning(Kind.OTHER, error=_sentence(error))


def malformed(protocol: str, data: bytes, fault: object) -> Malformed:
    """The exception for data that does not follow the protocol, with an excerpt of the data."""
    excerpt = repr(data[:60])[1:] + ("..." if len(data) > 60 else "")
    reason = line(str(fault), 100).encode("ascii", "backslashreplace").decode()[:120]
    return Malformed(f"not {protocol}: {reason}, in {excerpt}")


def undated(tool: str) -> str:
    """A tool's name without the date that some APIs append to it: `web_search_20260209` → `web_search`."""
    return re.sub(r"_\d{8}$", "", tool)


def turns(prompt: Prompt) -> list[dict[str, str]]:
    """The messages of a prompt as JSON objects, in the form that all three shipped protocols share."""
    return [{"role": role, "content": text} for role, text in prompt.messages]


def _sentence(error: Any) -> str:
    if not error:
        return "an error without a message"
    if not isinstance(error, dict):
        return line(error if isinstance(error, str) else str(error), 300)
    words = [error.get(key) for key in ("type", "code", "message")]
    parts = [line(str(word), 250) for word in words if isinstance(word, str | int) and word != ""]
    return ": ".join(parts)[:300] or line(str(error), 300)
