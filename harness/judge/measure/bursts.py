"""Bursts of chunks, and the silences between them. Pure."""

import ctypes
from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.measure.arrays import Integers, Mask
from streamgauge.harness.judge.store import Streams
from streamgauge.harness.native import layout, library
from streamgauge.harness.record.held_back import TOGETHER_MS

SILENT_US = 250_000  # a person notices a pause of this length; most servers send several chunks in that time
_TOGETHER_US = int(TOGETHER_MS * 1e3)  # chunks nearer than this came in one burst


@dataclass(frozen=True)
class Bursts:
    """Columns with a value for each stream; times in µs."""

    count: Integers
    lone: Integers  # of these bursts, those of one chunk
    stall: Integers  # the longest gap of SILENT_US or more; 0: none
    stalled_at: Integers  # when the last one of that length began
    silences: Integers  # of all streams, every such gap: the index in `events` of the chunk before it


def bursts(streams: Streams, at: Integers) -> Bursts:
    """`at`: when each content chunk came. Streams in which a tool ran have no silences: theirs are the tool's."""
    tool = ~np.isnan(streams.number["tool_pause"])
    columns = [np.zeros(len(streams), np.int64) for _ in range(4)]
    find = _numpy if library.LIBRARY is None else _compiled
    silences = find(columns, streams.events.starts, at, tool)
    count, lone, stall, stalled_at = columns
    return Bursts(count, lone, stall, stalled_at, silences)


def _compiled(columns: list[Integers], starts: Integers, at: Integers, tool: Mask) -> Integers:
    silences = np.empty(len(at), np.int64)
    to = layout.Bursts(*(column.ctypes.data for column in columns), _TOGETHER_US, SILENT_US)
    starts, at = np.ascontiguousarray(starts), np.ascontiguousarray(at)
    of_streams = starts.ctypes.data, len(tool), at.ctypes.data, tool.ctypes.data
    found = library.LIBRARY.sg_bursts(*of_streams, ctypes.byref(to), silences.ctypes.data)
    return silences[:found].copy()  # not a view, which would keep the whole array


def _numpy(columns: list[Integers], starts: Integers, at: Integers, tool: Mask) -> Integers:
    """The same, in several passes."""
    count, lone, stall, stalled_at = columns
    present = np.diff(starts) > 0
    begins = starts[:-1][present]
    if not len(begins):
        return begins
    gaps = np.diff(at)
    apart = np.ones(len(at), bool)
    apart[1:] = gaps > _TOGETHER_US
    apart[begins] = True
    count[present] = np.add.reduceat(apart, begins, dtype=np.int64)
    lone[present] = np.add.reduceat(apart & np.append(apart[1:], True), begins, dtype=np.int64)
    before = np.flatnonzero(gaps >= SILENT_US)
    owner = np.searchsorted(starts, before, side="right") - 1
    inside = (before + 1 < starts[owner + 1]) & ~tool[owner]
    before, owner = before[inside], owner[inside]
    order = np.lexsort((gaps[before], owner))
    stall[owner[order]], stalled_at[owner[order]] = gaps[before[order]], at[before[order]]  # the last of each stays
    return before
