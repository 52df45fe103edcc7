"""The lines that read a JSON format which nobody knows, guessed from one stream of it. Pure.

The text is where short texts come that differ from event to event. The end is what only the last event has.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.samples import Sample, at

_TEXT = ("text", "content", "delta", "token", "answer", "output", "chunk", "response", "message", "data", "t")
_TYPES = ("type", "event", "kind", "op", "object")  # keys that tell events apart
_NO_TEXT = (*_TYPES, "id", "time", "timestamp", "created", "date", "model", "role", "name", "status", "state")
_ENDS = re.compile("done|finish|end|stop|complete|final|last", re.IGNORECASE)
_DEEPEST = 6
_MOST_PATHS = 200  # of one event
_USAGE = {
    "input_tokens": ("prompt_tokens", "input_tokens", "tokens_in", "promptTokens", "inputTokens", "prompt"),
    "output_tokens": (
        "completion_tokens", "output_tokens", "tokens_out", "completionTokens", "outputTokens", "generated",
    ),
}  # fmt: skip


class _Kind(NamedTuple):
    """What tells the events with text from all others."""

    key: str
    value: str


def guess(sample: Sample) -> str | None:
    """The lines; None if no text was found."""
    tables = sample.tables
    path = _text_path(tables)
    if path is None:
        return None
    kind = _kind(tables, path)
    events: dict[str, Any] = {"framing": "ndjson"} if sample.lines else {}
    events["text"] = path if kind is None else {"at": path, "where": {kind.key: kind.value}}
    events |= _usage(tables)
    end = _end(sample, path, kind)
    found: dict[str, Any] = {"protocol": "custom"}
    if not end:
        found["end"] = "close"
    return lines.table("target", {**found, "events": events | end})


def _text_path(tables: list[dict[str, Any]]) -> str | None:
    values: dict[str, list[str]] = {}
    for item in tables:
        for path, found in _leaves(item):
            if isinstance(found, str):
                values.setdefault(path, []).append(found)
    scores = {path: _score(path, found) for path, found in values.items()}
    best = max(scores, key=lambda path: scores[path], default=None)
    return best if best is not None and scores[best] > 0 else None


def _score(path: str, found: list[str]) -> float:
    """How much the texts at a path look like pieces of an answer; 0: not at all."""
    key = next((step for step in reversed(path.split(".")) if not step.isdecimal()), "")
    if key.lower() in _NO_TEXT or key.lower().endswith(("id", "reason", "_at")):
        return 0
    different = len(set(found))
    if different < 2 and not (len(found) == 1 and key in _TEXT):
        return 0
    same_length = len({len(text) for text in found}) == 1 and len(found[0]) >= 8  # ids
    named = 2.0 if key in _TEXT else 1.0
    return 0 if same_length and key not in _TEXT else named * different


def _leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth > _DEEPEST:
        return
    inside = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, item in inside[:_MOST_PATHS]:
        below = f"{path}.{key}" if path else str(key)
        if "." in str(key):
            continue  # no path leads there
        if isinstance(item, dict | list):
            yield from _leaves(item, below, depth + 1)
        else:
            yield below, item


def _kind(tables: list[dict[str, Any]], path: str) -> _Kind | None:
    """The value that only events with text have at a key which all events have."""
    for key in _TYPES:
        values = [item.get(key) for item in tables]
        if key == path or not all(isinstance(value, str) for value in values) or len(set(values)) < 2:
            continue
        counts = Counter(item[key] for item in tables if isinstance(at(item, path), str))
        return _Kind(key, counts.most_common(1)[0][0])
    return None


def _end(sample: Sample, path: str, kind: _Kind | None) -> dict[str, Any]:
    """The key that says what ends the stream; none if nothing does."""
    events, tables = sample.events, sample.tables
    if not sample.lines:
        last = events[-1]
        if sample.data[-1] is None and _short(last):
            return {"end_data": last.data.decode("utf-8", "replace")}
        if last.name and all(event.name != last.name for event in events[:-1]):
            return {"end_event": last.name}
    last_table = tables[-1]
    if kind is not None and last_table[kind.key] != kind.value:
        return {"end": {"where": {kind.key: last_table[kind.key]}}}
    only_there = [
        (place, found)
        for place, found in _leaves(last_table)
        if found and place != path and not any(at(item, place) for item in tables[:-1])
    ]
    only_there.sort(key=lambda leaf: (leaf[1] is not True, not _ENDS.search(leaf[0])))
    return {"end_path": only_there[0][0]} if only_there else {}


def _short(event: Event) -> bool:
    return 0 < len(event.data) <= 40 and event.data.isascii()


def _usage(tables: list[dict[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    counts = [leaf for item in tables[-3:] for leaf in _leaves(item) if type(leaf[1]) is int]
    for field, names in _USAGE.items():
        paths = [path for path, _ in counts if path.rpartition(".")[2] in names]
        found |= {field: paths[-1]} if paths else {}
    return found
