"""Parts that the dialects share: JSON, server-sent events, and steps joined into blocks. No I/O, no time."""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any

import msgspec

from streamgauge.reference_server.model.steps import Kind, Step, ToolCall


def encode(document: Any) -> bytes:
    return msgspec.json.encode(document)


@lru_cache(maxsize=4096)
def quoted(text: str) -> bytes:
    """`text` as a JSON string. The vocabulary is small, so each token is encoded once while the server runs."""
    return msgspec.json.encode(text)


def event(document: Any, name: str = "") -> bytes:
    """One server-sent event with a JSON document as its data."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + encode(document) + b"\n\n"


class Deltas(dict[str, bytes]):
    """The event that brings a token, by the token's text. For events that are the same in every answer.

    Each is made once. The vocabulary is small; texts beyond `_MOST` are not kept.
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
    """What comes before and after the text of a token: `empty` is an event whose last empty string stands for it."""
    before, _, after = empty.rpartition(b'""')
    return before, after


def blocks(steps: Iterable[Step]) -> Iterator[tuple[Kind, ToolCall | None, str]]:
    """The runs of steps that belong together, each with its whole text: a thought, a paragraph, the input of a tool."""
    for (kind, _), together in groupby(steps, key=lambda step: (step.kind, step.tool and step.tool.id)):
        run = list(together)
        yield kind, run[-1].tool, "".join(step.text for step in run)


def joined(*contents: str | list[dict[str, Any]]) -> str:
    """The text of messages' contents, line by line. A content is a string, or blocks of which some have text."""
    lines = []
    for content in contents:
        parts = [{"text": content}] if isinstance(content, str) else content
        lines += [text for block in parts if isinstance(text := block.get("text"), str) and text]
    return "\n".join(lines)
