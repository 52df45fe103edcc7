"""How tokens are gathered before they are sent: not at all, up to a word's end, or up to a sentence's.

Text is only ever joined, never changed: what is flushed, put together, is what the tokens were, so Markdown comes out
as it went in, and no character is divided. What is held back is flushed by the next thing that is no text.
"""

import re
from dataclasses import replace
from typing import Literal

from streamgauge.reference_server.model import Step

Unit = Literal["token", "word", "sentence"]

# Up to the last place where something ends: a word before a space, a sentence before the space after its mark (and the
# quotes or asterisks that close with it), or a line. A mark with no space after it ends nothing: "4.2 m".
_ENDS = {
    "word": re.compile(r"(.*\S(?=\s)|.*\n)", re.DOTALL),
    "sentence": re.compile(r"(.*[.!?…][\"'”’»)\]*_`]*(?=\s)|.*\n)", re.DOTALL),
}
_MOST = 2_000  # characters; a "sentence" that is longer is flushed as it is


class Flusher:
    """Gathers text, and thinking, into words or sentences. Everything else goes straight through."""

    def __init__(self, unit: Literal["word", "sentence"]) -> None:
        self._end = _ENDS[unit]
        self._held: Step | None = None
        self.tokens = 0  # wholly or partly held

    def push(self, step: Step) -> list[Step]:
        """What is to be written now that this step has come."""
        held = self._held
        if step.kind not in {"text", "thinking"}:
            return [*self.flush(), step]
        before = self.flush() if held is not None and held.kind != step.kind else []
        whole = step if self._held is None else replace(step, text=self._held.text + step.text)
        self.tokens += 1
        found = self._end.match(whole.text)
        if found is None and len(whole.text) < _MOST:
            self._held = whole
            return before
        end = found.end() if found else len(whole.text)
        self._held = replace(whole, text=whole.text[end:]) if end < len(whole.text) else None
        self.tokens = 0 if self._held is None else 1
        return [*before, replace(whole, text=whole.text[:end])]

    def flush(self) -> list[Step]:
        """What is held back, now."""
        held, self._held, self.tokens = self._held, None, 0
        return [] if held is None else [held]
