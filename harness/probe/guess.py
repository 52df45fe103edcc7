"""The lines that read a JSON format which nobody knows, guessed from one stream of it. Pure.

The text is where short texts come that differ from event to event. The end is what only the last event has.
"""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.samples import Sample, at

_TEXT = ("text", "content", "delta", "token", "answer", "output", "chunk", "response", "message", "data", "t")
_TYPES = ("type", "event", "kind", "op", "object")  # keys that tell events apart
_NO_TEXT = (*_TYPES, "id", "time", "timestamp", "created", "date", "model", "role", "name", "status", "state")
_ENDS = re.compile("done|finish|end|stop|complete|final|last", re.IGNORECASE)
_REASONS = {"finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason", "doneReason", "reason"}
_NO_REASONS = {"", "null", "none"}
_FEWEST_RAW = 3  # events
_MARK = re.compile(rb"\[[A-Za-z_ -]{2,20}\]|<[|/]?[A-Za-z_ -]{2,20}[|/]?>")  # as in [END]
_LAST = 5  # events, one of which has the stop reason
_DEEPEST = 6
_MOST_PATHS = 200  # of one event
_USAGE = {
    "input_tokens": ("prompt_tokens", "input_tokens", "tokens_in", "promptTokens", "inputTokens", "prompt"),
    "output_tokens": (
        "completion_tokens", "output_tokens", "tokens_out", "completionTokens", "outputTokens", "generated",
    ),
}  # fmt: skip


class _Piece(NamedTuple):
    """A JSON event or line."""

    name: str  # of the event
    value: Any


class _Kind(NamedTuple):
    """What tells the events with text from all others."""

    key: str  # of the event's JSON; "": the event's name
    value: str

    def of(self, piece: _Piece) -> Any:
        return piece.name if not self.key else at(piece.value, self.key)


def guess(sample: Sample) -> str | None:
    """The lines; None if no text was found."""
    pieces = _pieces(sample)
    path = _text_path(pieces)
    if path is None:
        return _raw(sample)
    kind = _kind(pieces, path)
    events: dict[str, Any] = {"framing": "ndjson"} if sample.lines else {}
    events["text"] = path if kind is None else _place(path, kind)
    events |= _usage(pieces)
    reason = reason_place(sample)
    events |= {"stop_reason": reason[0]} if reason is not None else {}
    end = _end(sample, pieces, path, kind)
    found: dict[str, Any] = {"protocol": "custom"}
    if not end:
        found["end"] = "close"
    return lines.table("target", {**found, "events": events | end})


def _raw(sample: Sample) -> str | None:
    """The lines for events whose data is the text itself. What ends them: an event with a name or a mark of its own."""
    names, last = [event.name for event in sample.events], sample.events[-1:]
    raw = sum(value is None for value in sample.values[:-1])
    if any(event.data.lstrip().startswith(b"data:") for event in sample.events[:_FEWEST_RAW]):
        return None  # wrapped once more by a gateway, and no text
    if len(names) < _FEWEST_RAW or 2 * raw <= len(names):
        return None
    if all(names) and names[-1] not in names[:-1] and _ENDS.search(names[-1]):
        return lines.target(protocol="custom", events={"end_event": names[-1]})
    if any(names):
        return None
    if _MARK.fullmatch(last[0].data):
        return lines.target(protocol="custom", events={"end_data": last[0].data.decode()})
    return lines.table("target", {"protocol": "custom", "end": "close", "events": {}})


def reason_place(sample: Sample) -> tuple[str, str] | None:
    """The path at which the last events have what looks like a stop reason, and the reason."""
    for piece in reversed(_pieces(sample)[-_LAST:]):
        for path, value in _leaves(piece.value):
            if path.rpartition(".")[2] in _REASONS and isinstance(value, str) and value.lower() not in _NO_REASONS:
                return path, value
    return None


def _pieces(sample: Sample) -> list[_Piece]:
    if sample.lines:
        return [_Piece("", value) for value in sample.lines]
    both = zip(sample.events, sample.values, strict=True)
    return [_Piece(event.name, value) for event, value in both if value is not None]


def _place(path: str, kind: _Kind) -> dict[str, Any]:
    where = {"where": {kind.key: kind.value}} if kind.key else {"event": kind.value}
    return where if path == "$" else {"at": path, **where}


def _text_path(pieces: list[_Piece]) -> str | None:
    values: dict[str, list[str]] = {}
    for piece in pieces:
        for path, found in _leaves(piece.value):
            if isinstance(found, str):
                values.setdefault(path, []).append(found)
    scores = {path: _score(path, found) for path, found in values.items()}
    best = max(scores, key=lambda path: scores[path], default=None)
    return best if best is not None and scores[best] > 0 else None


def _score(path: str, found: list[str]) -> float:
    """How much the texts at a path look like pieces of an answer; 0: not at all."""
    key = "text" if path == "$" else next((step for step in reversed(path.split(".")) if not step.isdecimal()), "")
    if key.lower() in _NO_TEXT or key.lower().endswith(("id", "reason", "_at")):
        return 0
    different = len(set(found))
    if different < 2 and not (len(found) == 1 and key in _TEXT):
        return 0
    same_length = len({len(text) for text in found}) == 1 and len(found[0]) >= 8  # ids
    named = 2.0 if key in _TEXT else 1.0
    return 0 if same_length and key not in _TEXT else named * different


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """The first values that are no tables and lists, each with its path."""
    return islice(_all_leaves(value), _MOST_PATHS)


def _all_leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str):
        yield "$", value
    if depth > _DEEPEST:
        return
    inside = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, item in inside[:_MOST_PATHS]:
        below = f"{path}.{key}" if path else str(key)
        if "." in str(key) or key == "*":
            continue  # no path leads there alone
        if isinstance(item, dict | list):
            yield from _all_leaves(item, below, depth + 1)
        else:
            yield below, item


def _kind(pieces: list[_Piece], path: str) -> _Kind | None:
    """The value that only events with text have, at a key that all events have, or as their name."""
    for key in ("", *_TYPES):
        of = _Kind(key, "").of
        values = [of(piece) for piece in pieces]
        if key == path or not all(isinstance(value, str) and value for value in values) or len(set(values)) < 2:
            continue
        counts = Counter(of(piece) for piece in pieces if isinstance(at(piece.value, path), str))
        return _Kind(key, counts.most_common(1)[0][0])
    return None


def _end(sample: Sample, pieces: list[_Piece], path: str, kind: _Kind | None) -> dict[str, Any]:
    """The key that says what ends the stream; none if nothing does."""
    if not sample.lines:
        last, before = sample.events[-1], sample.events[:-1]
        if last.name and all(event.name != last.name for event in before):
            return {"end_event": last.name}
        if sample.values[-1] is None and _short(last):
            return {"end_data": last.data.decode("utf-8", "replace")}
    last_piece = pieces[-1]
    if kind is not None and kind.key and kind.of(last_piece) != kind.value:
        return {"end": {"where": {kind.key: kind.of(last_piece)}}}
    only_there = [
        (place, found)
        for place, found in _leaves(last_piece.value)
        if found and place not in {path, "$"} and not any(at(piece.value, place) for piece in pieces[:-1])
    ]
    only_there.sort(key=lambda leaf: (leaf[1] is not True, not _ENDS.search(leaf[0])))
    return {"end_path": only_there[0][0]} if only_there else {}


def _short(event: Event) -> bool:
    return 0 < len(event.data) <= 40 and event.data.isascii()


def _usage(pieces: list[_Piece]) -> dict[str, str]:
    found: dict[str, str] = {}
    counts = [leaf for piece in pieces[-3:] for leaf in _leaves(piece.value) if type(leaf[1]) is int]
    for field, names in _USAGE.items():
        paths = [path for path, _ in counts if path.rpartition(".")[2] in names]
        found |= {field: paths[-1]} if paths else {}
    return found
