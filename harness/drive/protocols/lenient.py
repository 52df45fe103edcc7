"""Reading the JSON of other people's servers: what an official SDK reads is read, whatever else is odd about it.

A field that we do not need never makes an event unreadable. What is odd is counted in `Answer.oddities`.
"""

import json
import typing
from functools import cache
from typing import Any, TypeVar

import msgspec

from streamgauge.harness.drive.protocols.protocol import Answer, line, told

FAULTS = (ValueError, RecursionError)  # what `read` raises for data that is not JSON of this shape

_MOST_TOKENS = 2**53  # counts below it are exact in JSON and SQLite
_DEEPEST = 8  # levels of nested content that are looked at
_MOST_DIGITS = 9  # of an index that a list can have; int() raises above 4,300
_NO_REASON = {"null", "none"}  # what some servers write until they have one
_TEXTS = ("text", "thinking", "content", "summary", "reasoning", "transcript", "data")  # where a part has its text

_json = msgspec.json.Decoder(Any)

Path = tuple[str, ...]  # keys and list indices; empty: the whole data
T = TypeVar("T")


def read(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    """Decode like msgspec, and where that fails, as Python's own parser does.

    That one takes NaN, and a character whose two UTF-16 halves come in two events. A field whose value has another
    shape counts as absent. Raises one of `FAULTS`.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        try:
            value = json.loads(data)
        except FAULTS:
            raise fault from None
        found: T = _fitted(value, decoder.type)
        return found


def _fitted(value: Any, wanted: Any) -> Any:
    """The value as this type, without the parts of it that are of another type."""
    options = typing.get_args(wanted)
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        known = value if isinstance(value, dict) else {}
        return wanted(**{name: _fitted(known[key], kind) for name, key, kind in _fields(wanted) if key in known})
    if typing.get_origin(wanted) is list:
        return [_fitted(item, options[0]) for item in value if isinstance(item, dict)]
    if options:  # a list, a struct or a text, or None
        shape = typing.get_origin(options[0]) or (str if options[0] is str else dict)
        return _fitted(value, options[0]) if isinstance(value, shape) else None
    return value


@cache
def _fields(struct: type[msgspec.Struct]) -> list[tuple[str, str, Any]]:
    """The name of each field, its key in the JSON, and its type."""
    kinds = typing.get_type_hints(struct)
    names = zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    return [(name, key, kinds[name]) for name, key in names]


def value_in(data: bytes) -> Any:
    """The data as JSON: a table, a list or a string; None for anything else, which is text."""
    if not data.lstrip().startswith((b"{", b"[", b'"')):
        return None
    try:
        return read(_json, data)
    except FAULTS:
        return None


def steps(path: str | None) -> Path:
    """The steps of a dotted path; `$`, and no path, is the whole data."""
    found = (path or "$").split(".")
    return tuple(found[1:] if found[0] == "$" else found)


def value_at(value: Any, path: Path) -> Any:
    """The value at a path; None if it does not exist."""
    for number, step in enumerate(path, 1):
        if step == "*" and isinstance(value, list):
            found = [inner for item in value if (inner := value_at(item, path[number:]))]
            return found or None
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and len(step) <= _MOST_DIGITS and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


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


def written(value: Any) -> str:
    """A table or list as JSON, with whatever `read` takes: also NaN, half a character, and numbers of any size."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError:  # nested as deeply as the reader just takes
        return "{…}"


def is_count(value: Any) -> bool:
    """Whether it is a whole number of tokens, also as a float such as 3.0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_TOKENS:
        return False
    return value == int(value)


def keep_tokens(answer: Answer, field: str, value: Any) -> None:
    """Keep a reported token count, and count what is none as an oddity. null and absent report nothing."""
    if value is None:
        return
    if is_count(value):
        setattr(answer, field, int(value))
    else:
        answer.odd("a token count that is not a whole number")


def keep_stop_reason(answer: Answer, value: Any) -> bool:
    """Keep a reported stop reason, and return whether there is one: null, absent and empty report nothing.

    SGLang has a table with a type and words. One that says that the server gave up stays, whatever comes after it: of
    several choices, each has its own reason.
    """
    if isinstance(value, dict):
        value = ": ".join(told(value[key]) for key in ("type", "reason", "message") if value.get(key))
    if not value or (reason := told(value)).lower() in _NO_REASON:
        return False
    if not answer.gave_up:
        answer.stop_reason = line(reason, 100)
    return True
