"""The script of an answer: its tokens, and the wait before each. Pure: no clock, no sleeping, no state.

It is written before the first token is sent. `delivery/stream.py` turns the waits into due times.
"""

import re
import typing
from array import array
from dataclasses import dataclass
from random import Random
from typing import Literal

import msgspec

from streamgauge.reference_server.model import prose
from streamgauge.reference_server.model.answer import StopReason
from streamgauge.reference_server.model.input import ModelInput, count_tokens
from streamgauge.reference_server.model.pace import seed, waits
from streamgauge.reference_server.model.settings import ModelSettings
from streamgauge.reference_server.model.steps import Step

_THINKING = (20, 80)  # tokens, if the request asks for thinking and the settings have no length for it
_LEAD_IN = 8  # tokens of text before a tool is used


@dataclass(frozen=True, slots=True)
class Script:
    """One turn of the model before it is sent."""

    steps: list[Step]
    waits: "array[int]"  # before each step, ns, on an idle server; the first counts from the request's arrival
    input_tokens: int  # of the whole prompt, cached or not
    stop_reason: StopReason
    cache_read: int = 0  # input tokens that were read from the prompt cache
    cache_write: int = 0  # input tokens that were written to it
    stop_sequence: str | None = None  # the one that ended the answer


def write_script(
    settings: ModelSettings, given: ModelInput, occasion: int = 0, cache: tuple[int, int] = (0, 0)
) -> Script:
    """One turn of the model: its answer to `given`, or the tokens up to the call of a tool.

    The same arguments give the same script. Another `occasion` gives the same answer at another pace, as when a prompt
    is sent twice. `cache` is what the prompt cache found: tokens read, tokens written.
    """
    steps, stop_reason, stop_sequence = _content(settings, given)
    tokens = count_tokens(given.prompt)
    # Drawn for the whole answer and cut afterwards, so that a limit changes nothing before the cut.
    prefilled = tokens - min(cache[0], tokens) * settings.cached
    pace = waits(settings, len(steps), prefilled, occasion, given.prompt)
    if given.limit is not None and given.limit < len(steps):
        steps, pace, stop_reason, stop_sequence = steps[: given.limit], pace[: given.limit], "max_tokens", None
    return Script(steps, pace, tokens, stop_reason, *cache, stop_sequence)


def _content(settings: ModelSettings, given: ModelInput) -> tuple[list[Step], StopReason, str | None]:
    """The steps, why they end, and with which stop sequence."""
    # The text has its own random generator, so that it is the same with and without thinking.
    text = _prose("text", settings.tokens, Random(seed(settings.seed, given.prompt)))
    count, random = len(text), Random(seed(settings.seed, given.tool_results, given.prompt))
    steps = _thinking(settings, given, random)
    text = text[min(_LEAD_IN * given.tool_results, count - 1) :]  # the earlier turns wrote the beginning
    if given.tools and given.tool_results < settings.tools:
        call = random.choice(given.tools)
        document = msgspec.json.encode(call.input).decode()
        pieces = [Step("tool_input", piece, call) for piece in re.findall(r".{1,4}", document, re.DOTALL)]
        return [*steps, *text[:_LEAD_IN], *pieces], "tool_use", None
    written, stop_sequence = _up_to_stop_sequence(text, given.stop_sequences)
    return steps + written, "stop_sequence" if stop_sequence else "end_turn", stop_sequence


def _thinking(settings: ModelSettings, given: ModelInput, random: Random) -> list[Step]:
    if settings.thinking != (0, 0):
        return _prose("thinking", settings.thinking, random)
    return _prose("thinking", _THINKING, random) if given.thinking else []


def _prose(kind: Literal["text", "thinking"], length: tuple[int, int], random: Random) -> list[Step]:
    count = random.randint(*length)
    steps: list[Step] = []
    while len(steps) < count:
        steps += random.choice(_PARAGRAPHS[kind])
    return steps[:count]


# One step for each token of the vocabulary, shared by all answers.
_PARAGRAPHS = {
    kind: [[Step(kind, token) for token in paragraph] for paragraph in prose.PARAGRAPHS]
    for kind in typing.get_args(Literal["text", "thinking"])
}


def _up_to_stop_sequence(text: list[Step], sequences: list[str]) -> tuple[list[Step], str | None]:
    """The text before the first stop sequence in it, and that sequence; all of the text and None if it has none."""
    if not sequences:
        return text, None
    whole = "".join(step.text for step in text)
    found = [(at, sequence) for sequence in sequences if sequence and (at := whole.find(sequence)) >= 0]
    if not found:
        return text, None
    end, sequence = min(found)
    written: list[Step] = []
    for step in text:
        if end <= 0:
            break
        written.append(step if len(step.text) <= end else Step("text", step.text[:end]))
        end -= len(step.text)
    return written, sequence
