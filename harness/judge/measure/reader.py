"""A reader of an answer, as a buffer: what arrives fills it, reading at a set speed empties it. Pure.

Reading starts with the first text. Wherever the text runs dry and more is to come, the reader waits: a stall. What came
early makes up for what comes late, as it does for a person; in characters, so that neither tokenizers nor the size of
chunks matter. Thinking and tool input are not read: a pause for them is a wait.
"""

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.record.arrivals import Batch

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STALL_US = 250_000  # a wait that a reader notices; shorter ones count in the total, not in the number


def waits(events: Batch, gone_at: Floats, speed: float) -> dict[str, Floats]:
    """What the reader of each stream waited, at `speed` characters a second; NaN where no text came.

    `stall_count` (of STALL_US or more), `stall_time` and `longest_stall` in µs (all waits, however short), and
    `stall_ratio`, waited / (waited + reading). `gone_at` is when an answer that never was complete ended, µs, and NaN
    for the others: the reader of a broken one still waited until then.
    """
    starts, at, characters = _texts(events)
    there = np.flatnonzero(np.diff(starts))
    first, last = starts[:-1][there], starts[1:][there] - 1
    found = {name: np.full(len(starts) - 1, np.nan) for name in ("stall_count", "stall_time", "longest_stall")}
    found["stall_ratio"] = np.full(len(starts) - 1, np.nan)
    if not len(there):
        return found
    # With r[i] the time that it takes to read all up to chunk i, reading it ends at
    #     max(a[0], a[1] − r[0], …, a[i] − r[i−1]) + r[i],
    # so the waits are the steps of that maximum. One running maximum does for all streams: each is lifted above those
    # before it.
    read = np.rint(np.cumsum(characters) * (1e6 / speed)).astype(np.int64)
    before = read[first] - np.rint(characters[first] * (1e6 / speed)).astype(np.int64)
    height = int(at.max() - at.min()) + int((read[last] - before).max()) + 2
    lift = before + np.arange(len(there)) * height
    most = at + np.repeat(lift, last - first + 1)
    most[1:] -= read[:-1]
    np.maximum.accumulate(most, out=most)
    steps = np.diff(most, prepend=0)
    steps[first] = 0
    tail = np.nan_to_num(gone_at[there] - (most[last] - lift + read[last])).clip(0)
    waited = most[last] - most[first] + tail
    reading = (read[last] - before).astype(np.float64)
    found["stall_count"][there] = np.add.reduceat(steps >= STALL_US, first, dtype=np.int64) + (tail >= STALL_US)
    found["stall_time"][there] = waited
    found["longest_stall"][there] = np.maximum(np.maximum.reduceat(steps, first), tail)
    found["stall_ratio"][there] = waited / (waited + reading)
    return found


def _texts(events: Batch) -> tuple[Integers, Integers, Integers]:
    """Only what can be read: where each stream's begins, when it arrived, and how many characters it has."""
    readable = events.text > 0
    if readable.all():
        return events.starts, events.perceived_at, events.text
    so_far = np.concatenate([[0], np.cumsum(readable)])
    return so_far[events.starts], events.perceived_at[readable], events.text[readable]
