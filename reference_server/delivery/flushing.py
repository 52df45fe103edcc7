"""How tokens are gathered before they are sent: not at all, to the end of a word, or to the end of a sentence.

Text is joined but never changed: the flushed parts together are exactly the tokens. So Markdown survives, and no
character is divided. The next step that is not text flushes what is held back.
"""

import re
from dataclasses import replace
from typing import Literal

from streamgauge.reference_server.model.steps import Step

Unit = Literal["token", "word", "sentence"]

# Match up to the last end of a word (before a space), of a sentence (before the space after its mark and any closing
# quotes or asterisks), or of a line. A mark with no space after it ends nothing, as in "4.2 m".
_ENDS = {
    "word": re.compile(r"(.*\S(?=\s)|.*\n)", re.DOTALL),
    "sentence": re.compile(r"(.*[.!?…][\"'”’»)\]*_`]*(?=\s)|.*\n)", re.DOTALL),
}
_MOST = 2_000  # characters; a longer "sentence" is flushed although it has not ended


class Flusher:
    """Gathers text and thinking into words or sentences. Steps of other kinds pass through at once."""

    def __init__(self, unit: Literal["word", "sentence"]) -> None:
        self._end = _ENDS[unit]
        self._held: Step | None = None
        self.tokens = 0  # of which at least a part is held back

    def push(self, step: Step) -> list[Step]:
        """The steps to write now, after this one has come."""
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
        """The step that is held back, to be written now."""
        held, self._held, self.tokens = self._held, None, 0
        return [] if held is None else [held]
