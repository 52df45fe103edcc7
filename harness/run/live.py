"""Rough numbers of the latest streams, shown while a run goes on, and the run whose every stream fails alike."""

from collections import Counter, deque
from collections.abc import Iterable

from streamgauge.harness.counting import some, took
from streamgauge.harness.record.failure import TOLD, Failure, check, merged
from streamgauge.harness.record.observation import FAILURES, Outcome, StreamObservation

_ALIKE = 20  # streams; if so many are the first ones and fail alike, the rest would, too
_MOST_WAYS = 1_000  # that are counted apart

_Way = tuple[str, int | None, str]
_Ways = dict[_Way, Failure]


class LiveProgress:
    def __init__(self, measured_from: int = 0) -> None:
        """`measured_from`: the end of the warm-up, ns on the run's clock."""
        self._measured_from = measured_from
        self._warm_up: Counter[Outcome] = Counter()
        self._outcomes: Counter[Outcome] = Counter()
        self._ttft: deque[float] = deque(maxlen=500)  # ms, of the latest streams
        self._ways: _Ways = {}  # how streams failed
        self._warm_up_ways: _Ways = {}
        self._told: set[_Way] = set()

    def add(self, streams: Iterable[StreamObservation]) -> None:
        for seen in streams:
            warm_up = seen.due_at < self._measured_from
            if seen.outcome in FAILURES:
                failure = Failure(seen.outcome, seen.http_status, seen.detail, 1)
                _count(failure, self._warm_up_ways if warm_up else self._ways)
            if warm_up:
                self._warm_up[seen.outcome] += 1
                continue
            self._outcomes[seen.outcome] += 1
            if seen.first_content_at is not None:
                self._ttft.append((seen.first_content_at - seen.due_at) / 1e6)

    def lines(self, seconds: int, users: int) -> list[str]:
        """For the terminal, `seconds` after the run began: one line, and one for each new way in which streams fail."""
        most = self.failures(seconds)
        new = [failure for failure in most if failure.way not in self._told] if len(self._told) < TOLD else []
        self._told |= {failure.way for failure in new}
        return [self._line(seconds, users), *(f"        {failure}" for failure in new)]

    def outcomes(self, seconds: float) -> Counter[Outcome]:
        """How the streams ended: those of the warm-up while it lasts, then the measured ones."""
        return self._warm_up if seconds * 1e9 < self._measured_from else self._outcomes

    def failures(self, seconds: float) -> list[Failure]:
        """The most frequent ways in which these streams failed."""
        ways = self._warm_up_ways if seconds * 1e9 < self._measured_from else self._ways
        return sorted(ways.values(), key=lambda each: -each.n)[:TOLD]

    def _line(self, seconds: int, users: int) -> str:
        clock = f"{seconds // 60:3d}:{seconds % 60:02d}  {some(users, 'user')}  "
        if seconds * 1e9 < self._measured_from:
            failed = sum(self._warm_up[outcome] for outcome in FAILURES)
            return f"{clock}warm-up: {some(self._warm_up.total(), 'stream')}, {failed:,} failed"
        latest = sorted(self._ttft)
        ttft = "–"
        if latest:
            ttft = f"p50 {took(latest[len(latest) // 2])}, p95 {took(latest[int(len(latest) * 0.95)])}"
        failed = sum(self._outcomes[outcome] for outcome in FAILURES)
        return (
            f"{clock}{some(self._outcomes.total(), 'stream')}: "
            f"{self._outcomes[Outcome.COMPLETED]:,} completed, {self._outcomes[Outcome.CANCELLED]:,} left, "
            f"{failed:,} failed  TTFT {ttft}"
        )

    @property
    def hopeless(self) -> str | None:
        """Why no stream will do better: all streams so far, 20 or more, failed alike. None: some did not."""
        if len(self._ways) > 1 or len(self._warm_up_ways) > 1:
            return None
        failures = merged([*self._warm_up_ways.values(), *self._ways.values()])
        if len(failures) != 1:
            return None
        (failure,) = failures
        ended = Counter(self._outcomes) + self._warm_up
        del ended[Outcome.INTERRUPTED]
        if failure.n < _ALIKE or failure.n < ended.total():
            return None
        return f"the first {failure.n:,} streams all failed alike, {failure.why}; check {check(failure)}"


def _count(failure: Failure, ways: _Ways) -> None:
    way = failure.way
    known = ways.get(way)
    if known is not None:
        ways[way] = known._replace(n=known.n + 1)
    elif len(ways) < _MOST_WAYS:
        ways[way] = failure
