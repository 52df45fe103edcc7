"""Were the first streams of a run slower than the rest, beyond chance? Then a warm-up would leave them out. Pure.

The run is divided into BLOCKS of equal length. The TTFT of each stream becomes a rank among the streams of the second
half, and the mean rank of the first block is compared with those of the blocks of the second half, by the method of
batch means: how far apart the later blocks are says what chance does, also where streams that are near in time are
alike. A run that is the same all the time is remarked upon in less than 1 % of cases: tests/pure/test_cold_start.py.

Users who are still arriving do not mislead it: a stream is compared only with streams that began while at least about
as many others were open, so more load cannot make the first streams look slow. It cannot tell a cold server from a
crowd that begins at once and spreads later, and it says nothing of runs with few streams, nor of one that is cold for
half of its time or for less than a block.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.measure.arrays import Floats, Integers, Mask
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.record.observation import FAILURES, Outcome

BLOCKS = 20
LATER = BLOCKS // 2  # the blocks of the second half
FEWEST = 5  # streams that a block must have
STUDENT = 3.25  # t for LATER - 1 degrees of freedom, 99.5 %: ranks are not quite normal, and 99 % are promised
ALIKE = 0.8  # with this share of the other's open streams, a stream counts as one under the same load
MOST = 50_000  # streams that are ranked


@dataclass
class FirstStreams:
    """Takes a run's streams batch by batch. `step`: take every n-th stream only, so that memory stays bounded."""

    step: int = 1
    _batches: list[tuple[Floats, Floats, Floats, Floats]] = field(default_factory=list)
    _seen: int = 0

    @classmethod
    def of(cls, streams: int) -> "FirstStreams":
        return cls(-(-streams // MOST) or 1)

    def take(self, streams: Streams) -> None:
        number = streams.number
        first = -self._seen % self.step
        self._seen += len(streams)
        began = np.where(np.isnan(number["started_at"]), number["due_at"], number["started_at"])
        columns = (number["due_at"], began, number["ended_at"], _ttft(streams))
        due, start, end, ttft = (column[first :: self.step] for column in columns)
        self._batches.append((due, start, end, ttft))

    def remark(self, seconds: float) -> str:
        """A sentence; "" if the first streams are like the rest, or if there are too few to tell."""
        if not self._batches or seconds <= 0:
            return ""
        due, start, end, ttft = (np.concatenate(column) for column in zip(*self._batches, strict=True))
        known = ~np.isnan(ttft)
        open_at_due = _open_at(due, start, end)[known]
        block = np.clip(due[known] / (seconds * 1e9) * BLOCKS, 0, BLOCKS - 1).astype(np.int64)
        return _remark(block, ttft[known], open_at_due, seconds / BLOCKS)


def _ttft(streams: Streams) -> Floats:
    """ms; +inf for a stream that failed or was left before, NaN for one that says nothing of it."""
    number = streams.number
    waited = (number["first_content_at"] - number["due_at"]) / 1e6
    waited[streams.ended_as(FAILURES)] = math.inf
    waited[np.isnan(waited) & streams.ended_as({Outcome.CANCELLED})] = math.inf
    waited[streams.resumed] = math.nan
    return waited


def _open_at(moments: Floats, start: Floats, end: Floats) -> Integers:
    """How many streams were open at each moment."""
    begun = np.searchsorted(np.sort(start), moments, side="right")
    ended = np.searchsorted(np.sort(end), moments, side="right")
    return np.asarray(begun - ended, np.int64)


def _remark(block: Integers, ttft: Floats, open_streams: Integers, width: float) -> str:
    later = block >= BLOCKS - LATER
    counts = np.bincount(block, minlength=BLOCKS)
    if counts[0] < FEWEST or counts[BLOCKS - LATER :].min() < FEWEST:
        return ""
    rank = _ranks(ttft, open_streams, later)
    compared = ~np.isnan(rank)
    sums = np.bincount(block[compared], rank[compared], minlength=BLOCKS)
    counts = np.bincount(block[compared], minlength=BLOCKS)
    means = np.where(counts, sums / np.maximum(counts, 1), np.nan)
    limit = _limit(means[BLOCKS - LATER :], counts[BLOCKS - LATER :], int(counts[0]))
    if limit is None or not means[0] > limit:
        return ""
    slow = int((~(means > limit)).argmax())  # blocks from the first on that were slower than chance allows
    before, after = (float(np.median(values)) for values in (ttft[block < slow], ttft[later]))
    return (
        f"the first {figure(slow * width, 's')} were slower than the rest, beyond chance: median TTFT "
        f"{figure(before, 'ms')}, and {figure(after, 'ms')} in the second half; "
        f"with --warm-up {math.ceil(slow * width)}s or longer they would be in no figure"
    )


def _ranks(ttft: Floats, open_streams: Integers, later: Mask) -> Floats:
    """By stream: which share of the later streams under as much load or more had a shorter TTFT; NaN without any."""
    level = np.floor(np.log(np.maximum(open_streams, 1)) / -math.log(ALIKE)).astype(np.int64)
    ranks = np.full(len(ttft), np.nan)
    for one in np.unique(level):
        others = np.sort(ttft[later & (level >= one - 1)])
        mine = level == one
        if len(others) >= FEWEST:
            below = np.searchsorted(others, ttft[mine], side="left")
            ranks[mine] = (below + np.searchsorted(others, ttft[mine], side="right")) / 2 / len(others)
    return ranks


def _limit(means: Floats, counts: Integers, first: int) -> float | None:
    """The mean rank that a block of `first` streams hardly ever exceeds by chance. None: unknown."""
    if not first or np.isnan(means).any():
        return None
    # No less than what independent streams would have: ten blocks can be near each other by chance.
    between = max(float(means.var(ddof=1)), float((1 / (12 * counts)).mean()))
    fewer = max(0.0, 1 / first - float((1 / counts).mean())) / 12  # the first block has fewer streams
    spread = math.sqrt(between * (1 + 1 / len(means)) + fewer)
    return float(means.mean()) + STUDENT * spread
