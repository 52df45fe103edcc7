"""The reader model: a person who reads an answer at so many characters a second, as a buffer. Pure.

Text that arrives fills the buffer, reading empties it. Reading starts with the first text. Where the text runs dry and
more is to come, the reader waits: a stall. Text that came early makes up for text that comes late, as it does for a
person. The model counts characters, so neither tokenizers nor the size of chunks matter. Thinking and tool input are
not read: a pause for them is a wait.
"""

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.record.arrivals import ContentEvents

STALL_US = 250_000  # the shortest wait that counts as a stall; shorter ones count only in the time
COLUMNS = ("stall_count", "stall_time", "longest_stall", "stall_ratio")


def waits(events: ContentEvents, broke_at: Floats, speed: float) -> dict[str, Floats]:
    """How long the reader of each stream waited, at `speed` characters a second; NaN if no text came.

    `stall_count` (waits of STALL_US or more), `stall_time` and `longest_stall` in µs (all waits, however short), and
    `stall_ratio`, waited / (waited + reading). `broke_at` is when an incomplete answer ended, µs, and NaN for complete
    ones: the reader of a broken answer still waited until then.
    """
    starts, at, characters = _texts(events)
    with_text = np.flatnonzero(np.diff(starts))
    first, last = starts[:-1][with_text], starts[1:][with_text] - 1
    found = {name: np.full(len(starts) - 1, np.nan) for name in COLUMNS}
    if not len(with_text):
        return found
    # With r[i] the time that it takes to read all text up to chunk i, reading chunk i ends at
    #     max(a[0], a[1] − r[0], …, a[i] − r[i−1]) + r[i],
    # so the waits are the steps of that maximum. One running maximum serves all streams, since each stream is lifted
    # above those before it.
    read = np.rint(np.cumsum(characters) * (1e6 / speed)).astype(np.int64)
    before = read[first] - np.rint(characters[first] * (1e6 / speed)).astype(np.int64)
    height = int(at.max() - at.min()) + int((read[last] - before).max()) + 2
    lift = before + np.arange(len(with_text)) * height
    most = at + np.repeat(lift, last - first + 1)
    most[1:] -= read[:-1]
    np.maximum.accumulate(most, out=most)
    steps = np.diff(most, prepend=0)
    steps[first] = 0
    tail = np.nan_to_num(broke_at[with_text] - (most[last] - lift + read[last])).clip(0)
    waited = most[last] - most[first] + tail
    reading = (read[last] - before).astype(np.float64)
    found["stall_count"][with_text] = np.add.reduceat(steps >= STALL_US, first, dtype=np.int64) + (tail >= STALL_US)
    found["stall_time"][with_text] = waited
    found["longest_stall"][with_text] = np.maximum(np.maximum.reduceat(steps, first), tail)
    found["stall_ratio"][with_text] = waited / (waited + reading)
    return found


def _texts(events: ContentEvents) -> tuple[Integers, Integers, Integers]:
    """Only the events with text to read: where each stream's begin, when they arrived, and their characters."""
    readable = events.text > 0
    if readable.all():
        return events.starts, events.perceived_at, events.text
    so_far = np.concatenate([[0], np.cumsum(readable)])
    return so_far[events.starts], events.perceived_at[readable], events.text[readable]
