"""The streams of a run that still goes on, as the database has them, in the order in which they were due.

A stream is stored when it ends. Among those that began last, only the short ones have ended, and failures are short. So
a stream is given out only when all that began before it in its process have ended, too.
"""

from collections.abc import Sequence

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.store import Store, Streams
from streamgauge.harness.judge.store.texts import Texts
from streamgauge.harness.record.observation import ABANDONED

_AT_LEAST = 500_000_000  # ns that a level is left alone before its streams count
_LONGEST = 60_000_000_000
_TYPICAL = 30  # streams that tell how long an answer takes


class Rows:
    def __init__(self, store: Store, run: str) -> None:
        self._store = store
        self._run = run
        self._last_id = -1
        self._waiting: list[Streams] = []  # that were not given out
        self._upto: dict[str, int] = {}  # by process: all of its streams up to this number have ended,
        self._due: dict[str, float] = {}  # and when this one was due
        self._ahead: dict[str, dict[int, float]] = {}  # streams after that, with their due times
        self.streams = 0  # that have ended so far

    def read(self) -> None:
        """Read what was stored since the last call."""
        for streams in self._store.streams(self._run, after=self._last_id):
            self._last_id = int(streams.id[-1])
            self.streams += len(streams)
            self._waiting.append(streams)
            workers = self._store.texts(streams.id.tolist())["worker"]
            numbers, due = streams.number["sequence"].tolist(), streams.number["due_at"].tolist()
            for worker, number, at in zip(workers, numbers, due, strict=True):
                self._ahead.setdefault(worker, {})[int(number)] = at
        for worker, ahead in self._ahead.items():
            upto = self._upto.get(worker, 0)
            while upto + 1 in ahead:
                upto += 1
                self._due[worker] = ahead.pop(upto)
            self._upto[worker] = upto

    def answer_time(self, since: int, users: int) -> float | None:
        """How long streams that were due after `since` (ns on the run's clock) take, ns; None while too few ended."""
        took = [
            streams.number["ended_at"][chosen] - streams.number["due_at"][chosen]
            for streams in self._waiting
            if (chosen := (streams.number["due_at"] >= since) & ~streams.ended_as(ABANDONED)).any()
        ]
        found: Floats = np.concatenate([np.zeros(0), *took])
        return float(found.mean()) if len(found) >= min(users, _TYPICAL) else None

    def longest(self, since: int, streams: int) -> float | None:
        """How long the longest of the first streams took that were due after `since`, ns; None while fewer ended.

        The first in the order in which they were due: among those that ended first would be only the short ones.
        """
        until = self._until()
        took = [
            each.number["ended_at"][chosen] - each.number["due_at"][chosen]
            for each in self._waiting
            if (chosen := (each.number["due_at"] >= since) & (each.number["due_at"] <= until)).any()
        ]
        found: Floats = np.concatenate([np.zeros(0), *took])
        return float(found.max()) if len(found) >= streams else None

    def take(self, since: float) -> Streams | None:
        """Give out the streams that were due after `since`; those before are dropped. None if there are none."""
        until = self._until()
        out, waiting = [], []
        for streams in self._waiting:
            due = streams.number["due_at"]
            if (now := np.flatnonzero((due >= since) & (due <= until))).size:
                out.append(streams.select(now))
            if (later := np.flatnonzero((due >= since) & (due > until))).size:
                waiting.append(streams.select(later))
        self._waiting = waiting
        return in_order(out) if out else None

    def _until(self) -> float:
        """All streams that were due by then have ended."""
        return min((self._due.get(worker, -np.inf) for worker in self._ahead), default=-np.inf)


def settling(answer_time: float, *, after_trouble: bool) -> float:
    """How long a level is left alone before its streams count, ns: until it has filled, and a queue has drained."""
    return min(max(_AT_LEAST, answer_time * (2 if after_trouble else 1)), _LONGEST)


def in_order(parts: Sequence[Streams]) -> Streams:
    """All of these streams as one, in the order in which they were due."""
    whole = Streams(
        np.concatenate([part.id for part in parts]),
        {name: Texts.of([text for part in parts for text in part.text[name]]) for name in parts[0].text},
        {name: np.concatenate([part.number[name] for part in parts]) for name in parts[0].number},
        [blob for part in parts for blob in part.blobs],
        parts[0].source,
    )
    return whole.select(np.argsort(whole.number["due_at"], kind="stable"))
