"""Reading the JSON of other people's servers: what an official SDK reads is read, whatever else is odd about it.

A field that we do not need never makes an event unreadable. What is odd is counted in `Answer.oddities`.
"""

import json
import math
from typing import Any, TypeVar

import msgspec

from streamgauge.harness.drive.protocols.protocol import Answer, line

FAULTS = (ValueError, RecursionError)  # what `read` raises for data that is not JSON of this shape

_MOST_TOKENS = 2**53  # counts below it are exact in JSON and SQLite
_DEEPEST = 8  # levels of nested content that are looked at
_TEXTS = ("text", "thinking", "content", "summary", "reasoning", "transcript", "data")  # where a part has its text

T = TypeVar("T")


def read(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    """Decode like msgspec, and where that fails, as Python's own parser does.

    That one takes NaN, and a character whose two UTF-16 halves come in two events. Raises one of `FAULTS`.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        try:
            value = json.loads(data)
        except FAULTS:
            raise fault from None
        return msgspec.convert(value, decoder.type)


def text_in(value: Any, depth: int = 0) -> str:
    """The text of a content field: a string, a part such as `{"type": "text", "text": …}`, or a list of them."""
    if isinstance(value, str):
        return value
    if depth == _DEEPEST:
        return ""
    if isinstance(value, list):
        return "".join(text_in(part, depth + 1) for part in value)
    if isinstance(value, dict):
        return next((found for key in _TEXTS if (found := text_in(value.get(key), depth + 1))), "")
    return ""


def dict_at(value: Any, key: str) -> dict[str, Any]:
    """The table under a key; empty if there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def keep_tokens(answer: Answer, field: str, value: Any) -> None:
    """Keep a reported token count, and count what is none as an oddity. null and absent report nothing."""
    if value is None:
        return
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS:
        setattr(answer, field, value)
    else:
        answer.odd("a token count that is not a whole number")


def keep_stop_reason(answer: Answer, value: Any) -> None:
    """Keep a reported stop reason; null, absent and empty report nothing."""
    if value:
        answer.stop_reason = line(value if isinstance(value, str) else str(value), 100)
