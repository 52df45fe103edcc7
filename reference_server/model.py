"""The simulated model: which tokens an answer has and when each is due. Pure: no clock, no sleeping, no state.

Due times are offsets from the request's arrival, fixed before the first token is sent. A late token therefore never
delays those after it, and lateness cannot add up.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from reference_server import prose

_UNITS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(us|ms|s|m)")
_LENGTH = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_LONGEST_WAIT = 10 * _UNITS["m"]
_MOST_TOKENS = 100_000


Kind = Literal["thinking", "text", "tool_input", "tool_start", "tool_end"]
# cancelled: somebody stopped the generation from elsewhere; a dialect without a word for it says that the turn ended.
StopReason = Literal["end_turn", "max_tokens", "tool_use", "stop_sequence", "cancelled"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One use of a tool, as the model wrote it."""

    id: str  # unique within the answer; letters and digits
    name: str
    input: dict[str, Any]
    result: str = ""  # after it has run
    failed: bool = False
    client_side: bool = False  # the client runs it: the answer ends with the call


@dataclass(frozen=True, slots=True)
class Step:
    """What the model does next. `thinking`, `text` and `tool_input` are one generated token each, in `text`.

    The tokens of a tool's input, put together, are the JSON of `tool.input`. `tool_start` says that the server runs the
    tool now, `tool_end` that it has; these two are no tokens.
    """

    kind: Kind
    text: str
    tool: ToolCall | None = None  # of the three tool kinds


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
    """How a model behaves. Times in nanoseconds."""

    ttft: int = 400_000_000  # mean time from the request's arrival to the first token
    itl: int = 12_000_000  # mean gap between two tokens
    spread: float = 0.4  # coefficient of variation of both (log-normal); 0: exactly the means
    tokens: tuple[int, int] = (60, 240)  # an answer's length is drawn evenly from here, both ends included
    seed: int = 0  # the same seed and prompt give the same answer at the same offsets


PRESETS: dict[str, Shape] = {
    "haiku": Shape(),
    "sonnet": Shape(ttft=900_000_000, itl=18_000_000, spread=0.5, tokens=(120, 400)),
    "opus": Shape(ttft=1_600_000_000, itl=30_000_000, spread=0.5, tokens=(160, 500)),
    "local-7b": Shape(ttft=150_000_000, itl=35_000_000, spread=0.15, tokens=(60, 240)),
    "exact": Shape(ttft=200_000_000, itl=20_000_000, spread=0.0, tokens=(100, 100)),  # for judging a client's clock
}


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

    @property
    def texts(self) -> list[str]:  # until the dialects write steps
        return [step.text for step in self.steps]

    @property
    def due(self) -> list[int]:  # until delivery goes by waits
        return list(accumulate(self.waits))

    @property
    def capped(self) -> bool:  # until the dialects go by stop_reason
        return self.stop_reason == "max_tokens"


def plan(shape: Shape, ask: Ask, occasion: int = 0) -> Plan:
    """The answer to `ask`. The same arguments give the same plan.

    Another `occasion` is the same answer at another pace, as when a prompt is asked twice.
    """
    random, pace = _random(shape.seed, ask.prompt), _random(shape.seed, occasion, ask.prompt)
    shortest, longest = shape.tokens
    wanted = int(random.integers(shortest, longest, endpoint=True))
    count = wanted if ask.limit is None else min(wanted, ask.limit)
    # All is drawn for the whole answer and cut afterwards, so that a limit changes nothing before the cut.
    waits = np.full(wanted, float(shape.itl))
    waits[0] = shape.ttft
    waits *= _log_normal(pace, shape.spread, wanted)
    steps: list[Step] = []
    for index in random.integers(len(prose.PARAGRAPHS), size=wanted):
        if len(steps) >= count:
            break
        steps += _PARAGRAPHS[index]
    stop_reason: StopReason = "max_tokens" if count < wanted else "end_turn"
    return Plan(steps[:count], waits[:count].astype(np.int64).tolist(), count_tokens(ask.prompt), stop_reason)


_PARAGRAPHS = [[Step("text", token) for token in paragraph] for paragraph in prose.PARAGRAPHS]


def _random(*seeds: object) -> np.random.Generator:
    text = "\0".join(map(str, seeds))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


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
    found = _LENGTH.fullmatch(text.strip())
    if not found:
        raise ValueError(f'{text!r} is no number of tokens: write a number or a range, as in "100" or "60-240"')
    shortest, longest = int(found[1]), int(found[2] or found[1])
    if not 1 <= shortest <= longest <= _MOST_TOKENS:
        raise ValueError(f"{text!r} is out of range: from 1 to {_MOST_TOKENS} tokens, the smaller number first")
    return shortest, longest


def spread(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 5:
        raise ValueError(f"{text!r} is no spread: write a number from 0 (none) to 5")
    return value


def seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text.strip()):
        raise ValueError(f"{text!r} is no seed: write a whole number, 0 or greater")
    return int(text)


# Every setting of a Shape, with how it is read from text: the options and the request headers both go by this.
SETTINGS: dict[str, Callable[[str], Any]] = {
    "ttft": duration,
    "itl": duration,
    "spread": spread,
    "tokens": length,
    "seed": seed,
}


def overridden(shape: Shape, settings: Mapping[str, Any]) -> Shape:
    """`shape` with the given settings (already read) in place of its own."""
    return replace(shape, **settings) if settings else shape
