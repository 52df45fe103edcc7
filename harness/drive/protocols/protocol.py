"""The interface of a protocol: how to ask, and what each event of the answer means. Pure.

The data comes from servers that may be broken or hostile. `meaning_of` and `plain` raise nothing but `Malformed`. Of
a server's text they keep one printable line of limited length.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import category

import msgspec

from streamgauge.harness.config.schema import End, Framing, ProtocolName, Target
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.record.arrivals import Kind

# What msgspec raises for data that is not the expected JSON; RecursionError for deeply nested brackets.
JSON_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Malformed(ValueError):
    """Data that does not follow the protocol; the message is one short ASCII sentence with an excerpt."""


class Meaning(msgspec.Struct, frozen=True, gc=False):
    kind: Kind
    text: str = ""  # of content: what was generated
    error: str | None = None  # one line: an error that the server sent inside a 200
    ends: bool = False  # whether this is the terminal event
    refused: bool = False  # the error says that the question will not be answered, and not that something failed

    @property
    def characters(self) -> int:
        """How many; of a character that comes as two UTF-16 halves, the first half counts."""
        return len(self.text) if self.text.isascii() else len(_LOW_HALVES.sub("", self.text))

    @property
    def visible(self) -> bool:
        """Whether a person sees anything of the text: more than blanks, line ends and characters without a shape."""
        return any(category(char)[0] != "Z" and category(char) not in _SHAPELESS for char in self.text)


COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")  # fields of an Answer


class Choice(msgspec.Struct):
    """One of several answers to one question."""

    brought: bool = False  # content of which a person sees something
    ended: bool = False  # it has its stop reason


class Answer(msgspec.Struct):
    """What the server has reported about its answer so far; None until it does."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    stop_reason: str | None = None  # one line of at most 100 characters
    unknown: str | None = None  # an excerpt of the first event that the protocol has no meaning for
    begun: bool = False  # content has come
    visible: bool = False  # content has come of which a person sees something
    choices: dict[str, "Choice"] = {}  # the answers in this one, if the request asked for several
    came: tuple[Kind, ...] = ()  # the kinds of content that have come, in a protocol that repeats content as a whole
    number: int | None = None  # the highest sequence number so far, in a protocol that has them
    missing: set[int] = set()  # lower ones that have not come
    oddities: dict[str, int] = {}  # what was odd but readable, and how often

    @property
    def gave_up(self) -> bool:
        """Whether the stop reason says that the server gave up."""
        words = _WORD.findall((self.stop_reason or "").partition(":")[0])
        return not _GAVE_UP.isdisjoint(map(str.lower, words))

    @property
    def empty_choices(self) -> int:
        """How many of several answers have ended without content."""
        ended = [choice for choice in self.choices.values() if choice.ended]
        return sum(not choice.brought for choice in ended) if len(ended) > 1 else 0

    def odd(self, what: str, times: int = 1) -> None:
        """Count an oddity; `what` is one of a few constant texts, never the server's."""
        self.oddities[what] = self.oddities.get(what, 0) + times
        if not self.oddities[what]:
            del self.oddities[what]

    def not_understood(self, data: bytes) -> None:
        """Note an event that the protocol does not know. An SDK skips it, so it is no fault by itself."""
        if self.unknown is None:
            self.unknown = excerpt(data)
        self.odd("an event that the protocol does not know")


@dataclass(frozen=True, slots=True)
class Protocol:
    name: ProtocolName
    path: str
    headers: Mapping[str, str]  # in addition to content-type and accept
    # One of them occurs in every event that ends a stream, or tells an error in a form of this protocol's own, so that
    # data without them need not be decoded early. (): any event may.
    terminals: tuple[bytes, ...]
    request: Callable[[Target, Prompt, bool], dict[str, Any]]  # (target, prompt, streamed) → the request's JSON body
    # Interprets one event, updates the Answer; UNKNOWN if it cannot; raises Malformed.
    understand: Callable[[Event, Answer], Meaning]
    plain: Callable[[bytes, Answer], Meaning]  # the same for the body of an answer that was not streamed
    framing: Framing = "sse"
    has_reasons: bool = True  # a complete answer says why it stopped; without a reason it was cut short
    end: End | None = None  # as `Target.end`
    whole_path: str | None = None  # where answers in one piece are asked for; None: at `path`
    # Whether the input tokens that it reports include those read from or written to a prompt cache.
    cached_in_input: bool = True
    names_conversation: bool = False  # a request has an id of its conversation

    @property
    def markers(self) -> tuple[bytes, ...]:
        """One of them occurs in every event that ends a stream or tells an error; (): any event may."""
        markers = (*self.terminals, _ERROR_MARKER) if self.terminals else ()
        return markers if len(markers) <= _MOST_MARKERS else ()

    def meaning_of(self, event: Event, answer: Answer) -> Meaning:
        """What an event means. In every protocol, an event named `error` or with an error in its data is an error."""
        if event.comment:
            return PING
        if event.name == "error":
            return failure(_error_event(event.data))
        try:
            meaning = self.understand(event, answer)
        except Malformed:
            error = _error_in(table_in(event.data))
            if error is None:
                raise
            return failure(error)
        if meaning is UNKNOWN or (meaning is OTHER and b"error" in event.data):
            table = table_in(event.data)
            error = _error_in(table) or (untold_error_in(table) if meaning is UNKNOWN else None)
            if error is not None:
                return failure(error)
        if meaning is UNKNOWN:
            answer.not_understood(event.data)
            return OTHER
        return meaning


# A stop reason with one of these words, in any spelling such as `serverError`, says that the server gave up.
_GAVE_UP = {"abort", "aborted", "cancelled", "canceled", "crashed", "error", "exception", "failed", "failure"}
_GAVE_UP |= {"insufficient", "overloaded", "timed", "timeout", "unavailable"}
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

_LOW_HALVES = re.compile("[\udc00-\udfff]")
_SHAPELESS = {"Cc", "Cf"}  # such as a line end, and a space of no width
_EXCERPT = 120  # bytes
_MOST_MARKERS = 8  # that the compiled reader looks for
# In every form of an in-band error: a key or value of JSON, an event's name, llama.cpp's field `error:`. A text that
# has the word only costs a check; a marker for each form would cost a search of every read.
_ERROR_MARKER = b"error"
# Where an error has its words.
_WORDS = ("message", "errorText", "detail", "reason", "msg", "details", "status_msg", "error_msg")
_GOOD_CODES = (None, 0, 200, "0", "200")

PING = Meaning(Kind.PING)
OTHER = Meaning(Kind.OTHER)
UNKNOWN = Meaning(Kind.OTHER)  # another object than OTHER: told apart with `is`
END = Meaning(Kind.OTHER, ends=True)


def line(text: str, limit: int) -> str:
    """A server's text as one printable line of at most `limit` characters."""
    printable = text[: 2 * limit]
    if not printable.isprintable():
        printable = "".join(c if c.isprintable() else " " for c in printable)
    return " ".join(printable.split())[:limit]


def told(value: object) -> str:
    """Decoded JSON as text."""
    try:
        return str(value)
    except RecursionError:  # nested as deeply as the reader just takes
        return "a deeply nested value"


def failure(error: object) -> Meaning:
    """The meaning of an error event; `error` is its decoded JSON, of any shape."""
    return Meaning(Kind.OTHER, error=_sentence(error))


def malformed(protocol: str, data: bytes, fault: object) -> Malformed:
    """The exception for data that does not follow the protocol, with an excerpt of the data."""
    reason = line(str(fault), 100).encode("ascii", "backslashreplace").decode()[:120]
    return Malformed(f"not {protocol}: {reason}, in {excerpt(data)}")


def excerpt(data: bytes) -> str:
    """The beginning of data as one printable line in quotes."""
    return repr(data[:_EXCERPT])[1:] + ("..." if len(data) > _EXCERPT else "")


def undated(tool: str) -> str:
    """A tool's name without the date that some APIs append to it: `web_search_20260209` → `web_search`."""
    return re.sub(r"_\d{8}$", "", tool)


def turns(prompt: Prompt) -> list[dict[str, str]]:
    """The messages of a prompt as JSON objects, in the form that most protocols share."""
    return [{"role": role, "content": text} for role, text in prompt.messages]


def _error_event(data: bytes) -> Any:
    """The error that an event named `error` tells: the JSON in its data, or the data as text."""
    try:
        decoded = msgspec.json.decode(data)
    except JSON_FAULTS:
        return data.decode("utf-8", "replace")
    return (decoded.get("error") or decoded) if isinstance(decoded, dict) else decoded


def table_in(data: bytes) -> dict[str, Any]:
    """The JSON table that the data is; empty if it is none."""
    try:
        decoded = msgspec.json.decode(data)
    except JSON_FAULTS:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _error_in(table: dict[str, Any]) -> Any:
    """The error that an event's table is or holds, in the forms that servers have for it; None if there is none."""
    if table.get("error"):
        return table["error"]
    return table if "error" in (table.get("object"), table.get("type")) else None


def untold_error_in(table: dict[str, Any]) -> Any:
    """An error that no key names as one, in JSON of no known shape: told by a code beside the words."""
    told = table.get("base_resp") or table  # MiniMax
    if table.get("success") is False and isinstance(table.get("data"), dict):  # Qwen's web API
        told = table["data"]
    if not isinstance(told, dict):
        return None
    code = next((told[key] for key in ("code", "status_code", "error_code") if key in told), None)
    failed = told.get("success") is False or code not in _GOOD_CODES
    return told if failed and any(isinstance(told.get(key), str) for key in _WORDS) else None


def _sentence(error: Any) -> str:
    if isinstance(error, list) and error:  # Cloudflare, GraphQL
        error = error[0]
    if not error:
        return "an error without a message"
    if not isinstance(error, dict):
        return line(told(error), 300)
    words = [error.get(key) for key in ("type", "code", "status_code", "error_code", *_WORDS)]
    words = [word for word in words if word != "error"]  # the type of an event, which says nothing more
    parts = [line(str(word), 250) for word in words if isinstance(word, str | int) and word != ""]
    return ": ".join(parts)[:300] or line(told(error), 300)
