"""The reader model: a person who reads an answer at a constant number of characters a second, as a buffer. Pure.

Text that arrives fills the buffer, and reading empties it. Reading starts with the first text. If the buffer is empty
before the answer has ended, the reader waits: a stall. Text that arrives early compensates for text that arrives late.
The model counts characters, so neither the tokenizer nor the size of chunks matters. Thinking and tool input are not
read: a pause for them is a wait.
"""

import ctypes

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats, Integers
from streamgauge.harness.native import layout, library
from streamgauge.harness.record.arrivals import ContentEvents

STALL_US = layout.STALL  # the shortest wait that `stall_count` counts; shorter waits count only in `stall_time`
COLUMNS = ("stall_count", "stall_time", "longest_stall", "stall_ratio")


def waits(events: ContentEvents, broke_at: Floats, speed: float, ends: Integers) -> dict[str, Floats]:
    """How long the reader of each stream waited, at `speed` characters a second; NaN if no text came.

    `ends`: by stream, the index of the event from which on its text was not seen.

    `stall_count` (waits of STALL_US or more), `stall_time` and `longest_stall` in µs (all waits, however short), and
    `stall_ratio`, waited / (waited + reading). `broke_at` is the time at which an incomplete answer ended, µs, and NaN
    for a complete one: the reader of a broken answer waits until it ends.
    """
    if library.LIBRARY is not None and (compiled := _compiled_waits(events, broke_at, speed, ends)) is not None:
        return compiled
    starts, at, characters = _texts(events, ends)
    with_text = np.flatnonzero(np.diff(starts))
    first, last = starts[:-1][with_text], starts[1:][with_text] - 1
    columns = {name: np.full(len(starts) - 1, np.nan) for name in COLUMNS}
    if not len(with_text):
        return columns
    # Let a[i] be the arrival of chunk i, and r[i] the time that it takes to read all text up to chunk i. Then the
    # reader finishes chunk i at
    #     max(a[0], a[1] − r[0], …, a[i] − r[i−1]) + r[i],
    # and the waits are the steps of that maximum. A single running maximum serves all streams: `lift` shifts each
    # stream above all earlier ones.
    read = np.rint(np.cumsum(characters) * (1e6 / speed)).astype(np.int64)
    before = read[first] - np.rint(characters[first] * (1e6 / speed)).astype(np.int64)
    height = int(at.max() - at.min()) + int((read[last] - before).max()) + 2
    lift = before + np.arange(len(with_text)) * height
    latest_start = at + np.repeat(lift, last - first + 1)
    latest_start[1:] -= read[:-1]
    np.maximum.accumulate(latest_start, out=latest_start)
    steps = np.diff(latest_start, prepend=0)
    steps[first] = 0
    tail = np.nan_to_num(broke_at[with_text] - (latest_start[last] - lift + read[last])).clip(0)
    waited = latest_start[last] - latest_start[first] + tail
    reading = (read[last] - before).astype(np.float64)
    columns["stall_count"][with_text] = np.add.reduceat(steps >= STALL_US, first, dtype=np.int64) + (tail >= STALL_US)
    columns["stall_time"][with_text] = waited
    columns["longest_stall"][with_text] = np.maximum(np.maximum.reduceat(steps, first), tail)
    columns["stall_ratio"][with_text] = waited / (waited + reading)
    return columns


def _compiled_waits(events: ContentEvents, broke_at: Floats, speed: float, ends: Integers) -> dict[str, Floats] | None:
    """The same in C; None if the texts are so long that its numbers would overflow."""
    columns = {name: np.full(len(ends), np.nan) for name in COLUMNS}
    to = layout.Waits(*(column.ctypes.data for column in columns.values()))
    starts, at, text = (np.ascontiguousarray(column) for column in (events.starts, events.perceived_at, events.text))
    content = layout.Content(starts=starts.ctypes.data, perceived_at=at.ctypes.data, text=text.ctypes.data)
    broke_at = np.ascontiguousarray(broke_at, np.float64)
    arguments = ends.ctypes.data, len(ends), broke_at.ctypes.data, 1e6 / speed
    return columns if library.LIBRARY.sg_waits(ctypes.byref(content), *arguments, ctypes.byref(to)) else None


def _texts(events: ContentEvents, ends: Integers) -> tuple[Integers, Integers, Integers]:
    """Only the events that have text: the index at which each stream begins, arrival times in µs, and characters."""
    readable = (events.text > 0) & (np.arange(len(events.text)) < np.repeat(ends, np.diff(events.starts)))
    if readable.all():
        return events.starts, events.perceived_at, events.text
    so_far = np.concatenate([[0], np.cumsum(readable)])
    return so_far[events.starts], events.perceived_at[readable], events.text[readable]
