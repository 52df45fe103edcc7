"""Whether something holds the chunks of an answer back and releases them together. Pure.

The findings of a run ask this of many streams at once, `doctor` of the few that it asked for. A pattern is columns with
one value for each stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEWEST_CHUNKS = 20  # of a stream: fewer may come together by chance
LATE = 0.05  # share of the reads that we were late for: with more, we held the chunks together
TOGETHER_MS = 1.0  # chunks nearer than this came in one burst
STEADY = 0.15  # coefficient of variation below which bursts are alike
COLLAPSED = 0.05  # of the time from the request to the last content
_FASTEST_MS = 0.2  # a chunk: no model generates 5,000 a second
_FAST_MS = 2.0  # a chunk: few models generate 500 a second
_HELD = 2.0  # chunks in a burst, on average
_APART_MS = 10.0  # between two bursts: a fast model sends several chunks within a millisecond, and soon the next ones


@dataclass(frozen=True)
class Pattern:
    """How the content of streams arrived on the wire."""

    wait: Floats  # ms from the request's last byte to the first content
    span: Floats  # ms from the first content to the last
    chunks: Floats  # of content
    bursts: Floats  # groups of chunks that came within TOGETHER_MS of each other
    lone_bursts: Floats  # of these, with a single chunk

    @classmethod
    def of(cls, wait: float, moments: Sequence[float]) -> "Pattern":
        """One stream whose content came at these moments, ms, in order; at least one."""
        apart = np.diff(np.asarray(moments)) > TOGETHER_MS
        begins, ends = np.append(True, apart), np.append(apart, True)
        figures = (wait, moments[-1] - moments[0], len(moments), int(begins.sum()), int((begins & ends).sum()))
        return cls(*(np.array([figure], np.float64) for figure in figures))

    @property
    def whole(self) -> Floats:
        """ms from the request to the last content."""
        return self.wait + self.span

    @property
    def apart(self) -> Floats:
        """ms from one burst to the next, on average."""
        return self.span / np.maximum(self.bursts - 1, 1)

    @property
    def collapsed(self) -> Mask:
        """All at once: all content within 5 % of the time since the request, faster than 5,000 chunks a second."""
        at_once: Mask = (self.span <= COLLAPSED * self.whole) & (self.span <= _FASTEST_MS * (self.chunks - 1))
        return at_once

    @property
    def sudden(self) -> Mask:
        """As `collapsed`, or at 500 chunks a second or more: something that writes slowly, or a very fast model."""
        almost: Mask = (self.span <= COLLAPSED * self.whole) & (self.span <= _FAST_MS * (self.chunks - 1))
        return almost

    @property
    def coalesced(self) -> Mask:
        """In bursts: most hold two chunks or more, and they are 10 ms apart or more, so the model is not just fast."""
        in_bursts: Mask = (
            ~self.collapsed
            & (self.bursts > 1)
            & (self.lone_bursts < self.bursts / 2)
            & (self.chunks >= _HELD * self.bursts)
            & (self.apart >= _APART_MS)
        )
        return in_bursts
