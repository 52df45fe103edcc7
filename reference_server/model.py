"""The simulated model: which tokens an answer has and when each is due. Pure: no clock, no sleeping, no state.

Due times are offsets from the request's arrival, fixed before the first token is sent. A late token therefore never
delays those after it, and lateness cannot add up.
"""

import hashlib
import math
import re
import typing
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import msgspec
import numpy as np

from streamgauge.reference_server import prose

_UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(us|ms|s|m)")
_LENGTH = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_LONGEST_WAIT = 10 * _UNITS["m"]
_MOST_TOKENS = 100_000


Kind = Literal["thinking", "text", "tool_input", "tool_start", "tool_end", "signature", "redacted_thinking"]
# cancelled: somebody stopped the generation from elsewhere; a dialect without a word for it says that the turn ended.
# The last two are a real model's only.
StopReason = Literal[
    "end_turn", "max_tokens", "tool_use", "stop_sequence", "cancelled", "refusal", "model_context_window_exceeded"
]

NO_TOKENS = frozenset({"tool_start", "tool_end", "signature", "redacted_thinking"})


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One use of a tool, as the model wrote it."""

    id: str  # letters and digits
    name: str
    input: dict[str, Any]
    result: str = ""  # after it has run
    failed: bool = False
    seconds: float = 0.0  # that it ran for
    client_side: bool = False  # the client runs it: the answer ends with the call


@dataclass(frozen=True, slots=True)
class Step:
    """What the model does next. `thinking`, `text` and `tool_input` are one generated token each, in `text`.

    The tokens of a tool's input, put together, are the JSON of `tool.input`. `tool_start` says that the server runs the
    tool now, `tool_end` that it has; these two are no tokens. Nor are `signature`, which ends a thought of a real model
    and proves that it was the model's, and `redacted_thinking`, a thought that only the model can read.
    """

    kind: Kind
    text: str
    tool: ToolCall | None = None  # of the three tool kinds


class Failed(Exception):
    """The model cannot answer, or not go on; the message is one sentence for the client."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status  # HTTP's
        self.headers = headers or {}  # that go with it, where it is the whole answer


@dataclass(slots=True)
class Ask:
    """What the model needs to know of a request, in whatever dialect it came."""

    prompt: str  # all text that was sent
    limit: int | None = None  # the most tokens it may generate
    cache_prefixes: list[str] = field(default_factory=list)  # the prompt's text up to each mark, the shortest first
    tools: list[ToolCall] = field(default_factory=list)  # for each tool on offer a call as the model might make it
    tool_results: int = 0  # turns of this conversation that brought a tool's result
    thinking: bool = False  # the request wants to see it
    stop_sequences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Shape:
    """How a model behaves. Times in nanoseconds, on an idle server."""

    ttft: int = 400_000_000  # mean time to the first token of an empty prompt
    prefill: int = 30_000  # mean time that each token of the prompt adds to it
    itl: int = 12_000_000  # mean gap between two tokens
    spread: float = 0.4  # coefficient of variation of these (log-normal); 0: exactly the means
    pauses: float = 0.001  # share of the gaps that are long pauses, as when a batch is shuffled around
    pause: int = 400_000_000  # mean length of these
    tokens: tuple[int, int] = (60, 240)  # an answer's length is drawn evenly from here, both ends included
    thinking: tuple[int, int] = (0, 0)  # tokens of thinking before it; 0 to 0: some where the request asks for it
    tools: int = 1  # turns of a conversation in which the model uses a tool, where any is on offer
    cached: float = 0.9  # share of a cached token's prefill that is saved
    capacity: int = 256  # sequences that are generated at a time, all others queue; 0: any number, and never slower
    seed: int = 0  # the same seed and prompt give the same answer at the same offsets


PRESETS: dict[str, Shape] = {
    "haiku": Shape(),
    "sonnet": Shape(
        ttft=900_000_000, prefill=60_000, itl=18_000_000, spread=0.5, pauses=0.002, tokens=(120, 400), capacity=128
    ),
    "opus": Shape(
        ttft=1_600_000_000, prefill=120_000, itl=30_000_000, spread=0.5, pauses=0.002, tokens=(160, 500), capacity=64
    ),
    "local-7b": Shape(ttft=150_000_000, prefill=400_000, itl=35_000_000, spread=0.15, pauses=0, capacity=4),
    # For judging a client's clock.
    "exact": Shape(ttft=200_000_000, prefill=0, itl=20_000_000, spread=0, pauses=0, tokens=(100, 100), capacity=0),
}

_THINKING = (20, 80)  # tokens, where a request asks for it and the shape says nothing
_LEAD_IN = 8  # tokens of text before a tool is used


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer before it is sent."""

    steps: list[Step]
    waits: list[int]  # before each step, ns, on an idle server; the first counts from the request's arrival
    input_tokens: int  # of the whole prompt, cached or not
    stop_reason: StopReason
    cache_read: int = 0  # input tokens that the prompt cache had
    cache_write: int = 0  # input tokens that it has from now on
    stop_sequence: str | None = None  # the one that ended the answer


def plan(shape: Shape, ask: Ask, occasion: int = 0, cache: tuple[int, int] = (0, 0)) -> Plan:
    """One turn of the model: its answer to `ask`, or as far as the first use of a tool. Tokens only.

    The same arguments give the same plan.

    Another `occasion` is the same answer at another pace, as when a prompt is asked twice. `cache` is what the prompt
    cache said: tokens read, tokens written.
    """
    steps, stop_reason, stop_sequence = _content(shape, ask)
    tokens = count_tokens(ask.prompt)
    # All is drawn for the whole answer and cut afterwards, so that a limit changes nothing before the cut.
    prefilled = tokens - min(cache[0], tokens) * shape.cached
    waits = _waits(shape, len(steps), prefilled, occasion, ask.prompt)
    if ask.limit is not None and ask.limit < len(steps):
        steps, waits, stop_reason, stop_sequence = steps[: ask.limit], waits[: ask.limit], "max_tokens", None
    return Plan(steps, waits, tokens, stop_reason, *cache, stop_sequence)


def _content(shape: Shape, ask: Ask) -> tuple[list[Step], StopReason, str | None]:
    """What is said, why it ends, and with which stop sequence."""
    # The text has a generator of its own, so that it is the same with and without thinking.
    text = _prose("text", shape.tokens, Random(_seed(shape.seed, ask.prompt)))
    count, random = len(text), Random(_seed(shape.seed, ask.tool_results, ask.prompt))
    steps = _thinking(shape, ask, random)
    text = text[min(_LEAD_IN * ask.tool_results, count - 1) :]  # an earlier turn has said the rest
    if ask.tools and ask.tool_results < shape.tools:
        call = random.choice(ask.tools)
        document = msgspec.json.encode(call.input).decode()
        pieces = [Step("tool_input", piece, call) for piece in re.findall(r".{1,4}", document, re.DOTALL)]
        return [*steps, *text[:_LEAD_IN], *pieces], "tool_use", None
    said, stop_sequence = _stopped(text, ask.stop_sequences)
    return steps + said, "stop_sequence" if stop_sequence else "end_turn", stop_sequence


def _thinking(shape: Shape, ask: Ask, random: Random) -> list[Step]:
    if shape.thinking != (0, 0):
        return _prose("thinking", shape.thinking, random)
    return _prose("thinking", _THINKING, random) if ask.thinking else []


def _prose(kind: Literal["text", "thinking"], length: tuple[int, int], random: Random) -> list[Step]:
    count = random.randint(*length)
    steps: list[Step] = []
    while len(steps) < count:
        steps += random.choice(_PARAGRAPHS[kind])
    return steps[:count]


# A step is made once for each token of the vocabulary, not for each token of an answer.
_PARAGRAPHS = {
    kind: [[Step(kind, token) for token in paragraph] for paragraph in prose.PARAGRAPHS]
    for kind in typing.get_args(Literal["text", "thinking"])
}


def _stopped(text: list[Step], sequences: list[str]) -> tuple[list[Step], str | None]:
    """The text up to the first of the stop sequences, which is not said, and that sequence."""
    if not sequences:
        return text, None
    whole = "".join(step.text for step in text)
    found = [(at, sequence) for sequence in sequences if sequence and (at := whole.find(sequence)) >= 0]
    if not found:
        return text, None
    end, sequence = min(found)
    said: list[Step] = []
    for step in text:
        if end <= 0:
            break
        said.append(step if len(step.text) <= end else Step("text", step.text[:end]))
        end -= len(step.text)
    return said, sequence


def _waits(shape: Shape, count: int, prefilled: float, *seeds: object) -> list[int]:
    """Before each token, ns."""
    first = shape.ttft + shape.prefill * prefilled
    if not shape.spread and not shape.pauses:
        return [round(first), *[shape.itl] * (count - 1)][:count]
    pace = np.random.default_rng(_seed(shape.seed, *seeds))
    waits = np.full(count, float(shape.itl))
    if shape.pauses:
        waits[pace.random(count) < shape.pauses] = shape.pause
    waits[0:1] = first
    waits *= _log_normal(pace, shape.spread, count)
    return list(waits.astype(np.int64).tolist())


def stretch(running: int, capacity: int) -> float:
    """What waits are multiplied by when `running` sequences share the machine.

    Up to half the capacity a batch costs what a single sequence does; from there on it grows evenly, to twice that when
    the machine is full.
    """
    knee = capacity / 2
    return 1.0 if running <= knee or not capacity else running / knee


class PromptCache:
    """The beginnings of prompts that the model has seen lately; the least recently used are dropped first."""

    LIFETIME = 5 * _UNITS["m"]  # ns after the last use
    SHORTEST = 1024  # tokens; the real services do not cache less either
    MARKS = 4  # of one prompt; the longest count

    def __init__(self, entries: int = 4096) -> None:
        self._entries = entries
        self._expires: OrderedDict[bytes, int] = OrderedDict()  # by the prefix's digest

    def use(self, prefixes: list[str], now: int) -> tuple[int, int]:
        """Tokens that were there of a prompt with these beginnings, and tokens that now are, too. `now` in ns."""
        read = longest = 0
        for prefix in prefixes[-self.MARKS :]:
            tokens = count_tokens(prefix)
            if tokens < self.SHORTEST:
                continue
            longest = tokens
            key = hashlib.blake2b(prefix.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            if self._expires.pop(key, 0) > now:
                read = tokens
            self._expires[key] = now + self.LIFETIME
        while len(self._expires) > self._entries:
            self._expires.popitem(last=False)
        return read, longest - read


def _seed(*seeds: object) -> int:
    text = "\0".join(map(str, seeds))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "big")


def count_tokens(text: str) -> int:
    """Roughly what a tokenizer would count: one for every four characters."""
    return max(1, (len(text) + 3) // 4)


def _log_normal(random: np.random.Generator, variation: float, count: int) -> Any:
    """Factors with mean 1 and the given coefficient of variation."""
    sigma = math.sqrt(math.log1p(variation * variation))
    return random.lognormal(-sigma * sigma / 2, sigma, count) if sigma else 1.0


def duration(text: str) -> int:
    """`200ms`, `1.5s` → ns. ValueError for what is none, or too long."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError(f'{text!r} is no duration: write a number and a unit, as in "200ms" or "1.5s"')
    nanoseconds = round(float(found[1]) * _UNITS[found[2]])
    if nanoseconds > _LONGEST_WAIT:
        raise ValueError(f"{text!r} is too long: at most 10m")
    return nanoseconds


def length(text: str) -> tuple[int, int]:
    """`100`, `60-240` → the shortest and the longest. ValueError for what is neither."""
    shortest, longest = _range(text)
    if not 1 <= shortest <= longest <= _MOST_TOKENS:
        raise ValueError(f"{text!r} is out of range: from 1 to {_MOST_TOKENS} tokens, the smaller number first")
    return shortest, longest


def thinking(text: str) -> tuple[int, int]:
    """The same, but 0 is a length, too."""
    shortest, longest = _range(text)
    if not shortest <= longest <= _MOST_TOKENS:
        raise ValueError(f"{text!r} is out of range: from 0 to {_MOST_TOKENS} tokens, the smaller number first")
    return shortest, longest


def _range(text: str) -> tuple[int, int]:
    found = _LENGTH.fullmatch(text.strip())
    if not found:
        raise ValueError(f'{text!r} is no number of tokens: write a number or a range, as in "100" or "60-240"')
    return int(found[1]), int(found[2] or found[1])


def number(least: float, most: float) -> Callable[[str], float]:
    """A reader of numbers from `least` to `most`. It raises ValueError for anything else."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise ValueError(f"{text!r} does not do: write a number from {least:g} to {most:g}")
        return value

    return read


def whole(most: int) -> Callable[[str], int]:
    """A reader of whole numbers from 0 to `most`. It raises ValueError for anything else."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text.strip()) or int(text) > most:
            raise ValueError(f"{text!r} does not do: write a whole number from 0 to {most}")
        return int(text)

    return read


# Every setting of a Shape, with how it is read from text: the options and the request headers both go by this.
SETTINGS: dict[str, Callable[[str], Any]] = {
    "ttft": duration,
    "prefill": duration,
    "itl": duration,
    "spread": number(0, 5),
    "pauses": number(0, 1),
    "pause": duration,
    "tokens": length,
    "thinking": thinking,
    "tools": whole(100),
    "cached": number(0, 1),
    "capacity": whole(100_000),
    "seed": whole(10**18 - 1),
}
SERVER_WIDE = frozenset({"capacity"})  # all requests share these; no header changes them
