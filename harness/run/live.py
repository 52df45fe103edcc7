"""Rough numbers of the latest streams, shown while a run goes on. No verdict uses them."""

from collections import Counter, deque
from collections.abc import Iterable

from streamgauge.harness.record.observation import FAILURES, Outcome, StreamObservation


class LiveProgress:
    def __init__(self, measured_from: int = 0) -> None:
        """`measured_from`: the end of the warm-up, ns on the run's clock."""
        self._measured_from = measured_from
        self._warm_up: Counter[Outcome] = Counter()
        self._outcomes: Counter[Outcome] = Counter()
        self._ttft: deque[float] = deque(maxlen=500)  # ms, of the latest streams

    def add(self, streams: Iterable[StreamObservation]) -> None:
        for seen in streams:
            if seen.due_at < self._measured_from:
                self._warm_up[seen.outcome] += 1
                continue
            self._outcomes[seen.outcome] += 1
            if seen.first_content_at is not None:
                self._ttft.append((seen.first_content_at - seen.due_at) / 1e6)

    def line(self, seconds: int, users: int) -> str:
        """One line for the terminal, `seconds` after the run began."""
        clock = f"{seconds // 60:3d}:{seconds % 60:02d}  {users:,} users  "
        if seconds * 1e9 < self._measured_from:
            failed = sum(self._warm_up[outcome] for outcome in FAILURES)
            return f"{clock}warm-up: {self._warm_up.total():,} streams, {failed:,} failed"
        latest = sorted(self._ttft)
        ttft = "–"
        if latest:
            ttft = f"p50 {latest[len(latest) // 2]:,.0f} ms, p95 {latest[int(len(latest) * 0.95)]:,.0f} ms"
        failed = sum(self._outcomes[outcome] for outcome in FAILURES)
        return (
            f"{clock}{self._outcomes.total():,} streams: "
            f"{self._outcomes[Outcome.COMPLETED]:,} completed, {self._outcomes[Outcome.CANCELLED]:,} left, "
            f"{failed:,} failed  TTFT {ttft}"
        )
