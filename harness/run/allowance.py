"""The tokens that probes of one target may spend a day: a bucket that fills evenly. Pure; time is handed in.

A stream begins only if the bucket holds all that it could spend; what it did not spend goes back when it has ended. The
bucket holds a quarter of a day's tokens and gets three quarters more within a day, so no 24 hours spend more than the
budget. Only a server that generates more than the request allows can spend more, and later probes wait for that.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamgauge.harness.record.observation import Outcome, StreamObservation

_DAY = 86_400  # seconds
_AT_ONCE = 0.25  # of a day's tokens
_BYTES_PER_TOKEN = 3  # of a question in UTF-8: English has four or more
_PER_QUESTION = 50  # tokens that a server's chat template may add
FREE = frozenset({Outcome.REFUSED, Outcome.UNREACHABLE})  # nothing was generated
# Keys by which servers take the most tokens of an answer, and how many answers they give; without case, _ and -.
_LIMITS = frozenset({"maxtokens", "maxcompletiontokens", "maxoutputtokens", "maxnewtokens", "maxtokenstosample",
                     "numpredict", "npredict", "maxlength", "maxgenlen"})  # fmt: skip
_ANSWERS = frozenset({"n", "bestof", "candidatecount", "numreturnsequences", "numresponses"})


@dataclass(frozen=True, slots=True)
class Spent:
    """What one stream of the last day told of its tokens."""

    at: float  # seconds since 1970: when it ended
    tokens: int


class Allowance:
    def __init__(self, per_day: float, spent: Iterable[Spent], now: float) -> None:
        """`spent`: by the streams of the last day, in order of time. All times are seconds since 1970."""
        self.at_once = per_day * _AT_ONCE  # the most that one stream may reserve
        self._per_second = per_day * (1 - _AT_ONCE) / _DAY
        self._tokens = self.at_once
        self._at = now - _DAY
        self._reserved: dict[int, float] = {}  # by the stream's sequence
        for each in spent:
            self._fill(each.at)
            self._tokens -= each.tokens
        self._fill(now)

    def reserve(self, tokens: float, now: float, stream: int) -> bool:
        """Reserve so many tokens for the stream with this sequence, which is to begin; False: it must not begin."""
        self._fill(now)
        if tokens > self._tokens:
            return False
        self._tokens -= tokens
        self._reserved[stream] = tokens
        return True

    def settle(self, seen: StreamObservation, *, cached_in_input: bool) -> None:
        """A stream for which tokens were reserved has ended: give back what it did not spend."""
        reserved = self._reserved.pop(seen.sequence, 0.0)
        self._tokens += reserved - spent_by(seen, reserved, cached_in_input=cached_in_input)

    def _fill(self, now: float) -> None:
        if now > self._at:
            self._tokens = min(self.at_once, self._tokens + (now - self._at) * self._per_second)
            self._at = now


def most_of(question: bytes, max_tokens: int) -> int:
    """What a stream could spend, as far as that can be known before: this question in UTF-8, and its answer."""
    return len(question) // _BYTES_PER_TOKEN + _PER_QUESTION + max_tokens


def output_limit(asked: Any) -> int | None:
    """The most tokens that a request lets the server generate, by its body or query; None if it names no limit.

    `[target.body]` can raise what the protocol sends, and ask for several answers to one question.
    """
    found = list(_numbers(asked))
    limits = [number for name, number in found if name in _LIMITS]
    if not limits or min(limits) < 1:  # Ollama: -1 is without a limit
        return None
    return max(limits) * max(1, *(number for name, number in found if name in _ANSWERS), 1)


def _numbers(value: Any) -> Iterator[tuple[str, int]]:
    """The whole numbers in a body, at any depth, with their keys."""
    if isinstance(value, Mapping):
        for key, inside in value.items():
            name = str(key).lower().replace("_", "").replace("-", "")
            if isinstance(inside, int | float) or (isinstance(inside, str) and inside.isdecimal()):
                yield name, int(inside)
            else:
                yield from _numbers(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _numbers(inside)


def spent_by(seen: StreamObservation, reserved: float, *, cached_in_input: bool) -> float:
    """The tokens of a stream that has ended. What the server did not tell counts as what was reserved for it."""
    if seen.outcome in FREE:
        return 0.0
    cached = 0 if cached_in_input else (seen.cache_read_tokens or 0) + (seen.cache_write_tokens or 0)
    told = (seen.input_tokens or 0) + cached + max(seen.output_tokens or 0, 0)
    whole = seen.outcome is Outcome.COMPLETED and seen.input_tokens is not None and seen.output_tokens is not None
    return told if whole else max(reserved, told, seen.content_chunks)
