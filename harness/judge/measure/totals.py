"""Counts and sums over streams, from which the rates are computed. SUMS says what is summed. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.config.schema import Good
from streamgauge.harness.judge.measure import gaps
from streamgauge.harness.judge.measure.arrays import Floats, Mask
from streamgauge.harness.judge.measure.observe import time_per_token
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.record.observation import DISCONNECTED, FAILURES, SEVERAL_TOKENS, Outcome

_CACHED = ("cache_read_tokens", "cache_write_tokens")
USAGE = ("input_tokens", "output_tokens", *_CACHED)
LATE = 10_000_000  # ns from a stream's due time to its start: a generator that keeps up needs less


@dataclass(frozen=True)
class Totals:
    """Counts and sums over some streams."""

    outcomes: dict[str, int]  # in the order of Outcome; only those that occurred
    sums: dict[str, float]  # by name: those of SUMS, and for the whole run also the sums that only a whole run has
    oddities: dict[str, int] = field(default_factory=dict)  # how many streams had each

    def sum(self, name: str) -> float:
        return self.sums.get(name, 0.0)

    def count(self, *outcomes: Outcome) -> int:
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)

    @property
    def streams(self) -> int:
        return sum(self.outcomes.values())

    @property
    def ended(self) -> int:
        """All streams but those that the run's end cut off: how these would have ended is unknown."""
        return self.streams - self.count(Outcome.INTERRUPTED)

    @property
    def gaps(self) -> int:
        """Pairs of content chunks that came one after the other in a stream, together or not."""
        return int(self.sum("content_chunks") - self.sum("with_content"))

    @property
    def disconnected(self) -> int:
        return self.count(*DISCONNECTED)


@dataclass(frozen=True)
class Sum:
    """A number of each stream, added up over a selection."""

    name: str
    of: Callable[[Streams, Good], NDArray[Any]]  # by stream; what was not observed adds 0
    columns: tuple[str, ...]  # of `Streams` that `of` reads
    of_course: bool = False  # needed only with metrics of how an answer came; it decodes every event


def _column(name: str) -> Sum:
    return Sum(name, lambda streams, _: np.nan_to_num(streams.number[name]), (name,))


def _reported(name: str, column: str) -> Sum:
    """How many streams have a value in this column."""
    return Sum(name, lambda streams, _: ~np.isnan(streams.number[column]), (column,))


def _positive(name: str, column: str) -> Sum:
    """How many streams have more than 0 in this column."""
    return Sum(name, lambda streams, _: streams.number[column] > 0, (column,))


_RESUMED = ("resume_gap", "resume_lost")  # say whether a stream resumed an answer
_COUNTED_WHOLE = ("outcome", "output_tokens", *_RESUMED)


def _of_counted_whole(name: str, column: str) -> Sum:
    """A column summed over the completed streams that hold a whole answer and whose tokens the server reported."""

    def of(streams: Streams, _: Good) -> NDArray[Any]:
        whole = streams.ended_as({Outcome.COMPLETED}) & ~np.isnan(streams.number["output_tokens"]) & ~streams.resumed
        return np.where(whole, streams.number[column], 0)

    return Sum(name, of, (*_COUNTED_WHOLE, *({column} - {*_COUNTED_WHOLE})))


def _told(streams: Streams) -> Mask:
    """Which streams reported usage."""
    told: Mask = ~np.logical_and.reduce([np.isnan(streams.number[name]) for name in USAGE])
    return told


def _silent(streams: Streams, _: Good) -> NDArray[Any]:
    """Sent, not refused, and without usage. A request that is refused costs nothing."""
    asked = ~np.isnan(streams.number["sent_at"]) & ~streams.ended_as({Outcome.REFUSED, Outcome.UNREACHABLE})
    return asked & ~_told(streams)


def _partial(streams: Streams, _: Good) -> NDArray[Any]:
    """With usage that may be a part: of a stream that did not complete, or of only one side."""
    both = ~(np.isnan(streams.number["input_tokens"]) | np.isnan(streams.number["output_tokens"]))
    return _told(streams) & ~(both & streams.ended_as({Outcome.COMPLETED}))


def _reported_in_part(streams: Streams, _: Good) -> NDArray[Any]:
    """Whose output tokens are those until the stream broke off."""
    return ~np.isnan(streams.number["output_tokens"]) & ~streams.ended_as({Outcome.COMPLETED})


def _fresh(streams: Streams, _: Good) -> NDArray[Any]:
    """Input tokens without the cached ones, for an input that includes them; 0 if there are more of these."""
    given, read, written = (np.nan_to_num(streams.number[name]) for name in ("input_tokens", *_CACHED))
    return np.maximum(given - read - written, 0)


def _open_ns(streams: Streams, _: Good) -> NDArray[Any]:
    return np.nan_to_num(streams.number["ended_at"] - streams.number["started_at"])


def _unstreamed(streams: Streams, _: Good) -> NDArray[Any]:
    """Which answers were to be streamed, and came at once. One token is an answer that cannot come otherwise."""
    number = streams.number
    several = (number["content_chunks"] > 1) | (number["output_tokens"] > 1)
    several |= np.isnan(number["output_tokens"]) & (number["characters"] >= SEVERAL_TOKENS)
    found: Mask = gaps.unstreamed(streams) & several & streams.streamed
    return found


def _limits(streams: Streams, good: Good) -> list[tuple[Mask, Mask]]:
    """For each limit that `good` sets: which streams are within it, and which are beyond it."""
    number = streams.number
    limits: list[tuple[int | None, Callable[[], Floats]]] = [
        (good.ttft, lambda: number["first_content_at"] - number["due_at"]),
        (good.tpot, lambda: time_per_token(streams)),
        (good.e2e, lambda: number["last_content_at"] - number["due_at"]),
        (good.longest_stall, lambda: number["longest_stall"] * 1e3),
    ]
    given = [(limit, value()) for limit, value in limits if limit is not None]
    return [(value <= limit, value > limit) for limit, value in given]


def _good(streams: Streams, good: Good) -> NDArray[Any]:
    """Completed within every limit. Without limits the goodput is unknown, and no stream counts."""
    limits = _limits(streams, good)
    if not limits:
        return np.zeros(len(streams), bool)
    kept: Mask = np.all([kept for kept, _ in limits], axis=0)
    return streams.ended_as({Outcome.COMPLETED}) & kept


def _gave_up(streams: Streams, _: Good) -> NDArray[Any]:
    """Left by the person before any content."""
    found: Mask = streams.ended_as({Outcome.CANCELLED}) & np.isnan(streams.number["first_content_at"])
    return found


def _not_good(streams: Streams, good: Good) -> NDArray[Any]:
    """Completed beyond a limit, failed, or left by the person before any content."""
    limits = _limits(streams, good)
    if not limits:
        return np.zeros(len(streams), bool)
    beyond: Mask = np.any([beyond for _, beyond in limits], axis=0)
    found: Mask = (
        (streams.ended_as({Outcome.COMPLETED}) & beyond) | _gave_up(streams, good) | streams.ended_as(FAILURES)
    )
    return found


_JUDGED_BY_LIMITS = (
    *("outcome", "due_at", "first_content_at", "last_content_at", "output_tokens", "longest_stall"),
    *("events", *_RESUMED),
)

SUMS: Mapping[str, Sum] = {
    each.name: each
    for each in [
        Sum("open_ns", _open_ns, ("started_at", "ended_at")),
        _reported("reported", "output_tokens"),
        Sum("reported_in_part", _reported_in_part, ("outcome", "output_tokens")),
        _positive("with_content", "content_chunks"),
        _of_counted_whole("counted_tokens", "output_tokens"),
        _of_counted_whole("counted_chunks", "content_chunks"),
        _reported("cache_reported", "cache_read_tokens"),
        _positive("cache_hits", "cache_read_tokens"),
        Sum("good", _good, _JUDGED_BY_LIMITS),
        Sum("not_good", _not_good, _JUDGED_BY_LIMITS),
        Sum("gave_up", _gave_up, ("outcome", "first_content_at")),
        Sum(
            "unstreamed",
            _unstreamed,
            ("outcome", "events", "content_chunks", "output_tokens", "characters", "answer", *_RESUMED),
            of_course=True,
        ),
        Sum("late", lambda streams, _: streams.number["send_lag"] >= LATE, ("send_lag",)),
        _column("input_tokens"),
        _column("output_tokens"),
        _column("cache_read_tokens"),
        _column("cache_write_tokens"),
        Sum("fresh_tokens", _fresh, ("input_tokens", *_CACHED)),
        Sum("usage_told", lambda streams, _: _told(streams), USAGE),
        Sum("usage_silent", _silent, ("outcome", "sent_at", *USAGE)),
        Sum("usage_resumed", lambda streams, _: _told(streams) & streams.resumed, (*USAGE, *_RESUMED)),
        Sum("usage_partial", _partial, ("outcome", *USAGE)),
        _column("reads"),
        _column("coalesced_reads"),
        _column("saturated_reads"),
        _column("unstamped_reads"),
        _column("content_chunks"),
    ]
}
