"""A model's answer: its steps one by one, the facts known before the first step, and those known after the last.

The simulated model and a real model upstream both return these types, so the other modules do not know which answered.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from streamgauge.reference_server.model.steps import Step

# cancelled: a request to this server stopped the generation. A dialect without this stop reason reports `end_turn`.
# The last two come only from a real model.
StopReason = Literal[
    "end_turn", "max_tokens", "tool_use", "stop_sequence", "cancelled", "refusal", "model_context_window_exceeded"
]


class ModelFailed(Exception):
    """The model cannot answer, or cannot continue. The message is one sentence for the client."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status  # HTTP's
        self.headers = headers or {}  # of the response, when the error is the whole answer


@dataclass(frozen=True, slots=True)
class AnswerStart:
    """What is known of an answer before its first token."""

    id: str  # unique; letters and digits
    created: int  # seconds since 1970
    input_tokens: int  # of the whole prompt, cached or not
    cache_read: int = 0  # input tokens that were read from the prompt cache
    cache_write: int = 0  # input tokens that were written to it


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """What is known of an answer after its last token. Tokens count as generated, whether delivered or not."""

    stop_reason: StopReason
    output_tokens: int
    thinking_tokens: int = 0  # of the output tokens
    stop_sequence: str | None = None  # the one that ended the answer
    start: AnswerStart | None = None  # replaces the first one if the input tokens grew: several turns of a real model


@dataclass(frozen=True, slots=True)
class Source:
    """Where the steps of an answer come from, each with the wait before it (ns).

    An asynchronous source is asked for its next step only after the one before has been written, so a slow client slows
    it down, too. A wait of 0 from it means that the step is due as soon as it comes. An exception that it raises ends
    the stream with an error event: a `ModelFailed` with its own status, any other with status 500.
    """

    steps: Iterator[tuple[int, Step]] | AsyncIterator[tuple[int, Step]]
    end: Callable[[int, int], AnswerEnd]  # called at the end, with the tokens generated and the thinking tokens of them
    planned: int = 0  # tokens that the whole answer may have and that are in memory now; 0 for a real model
