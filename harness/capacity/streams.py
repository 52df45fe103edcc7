"""What the search knows of the streams of a level: which are bad by each limit, and how near each came. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.judge.measure.arrays import Floats, Mask

Masks = NDArray[np.bool_]  # [limit, stream]


@dataclass(frozen=True, slots=True)
class Limit:
    """How large the share of bad streams may be. Rules that allow the same share of the same streams are one limit."""

    share: float
    rules: tuple[str, ...]  # a stream is bad if it breaks one of these


class Batch(NamedTuple):
    """Some streams of one visit, in the order in which they were due."""

    bad: Masks
    counted: Masks  # which streams a limit is about
    score: (
        Floats  # by stream: its figure divided by the limit, of the rule that it came nearest to breaking; ∞ if failed
    )

    def __len__(self) -> int:
        return len(self.score)

    def of(self, place: int) -> tuple[Mask, Mask]:
        """Which streams the limit at this place is about, and which of these are bad."""
        counted: Mask = self.counted[place]
        return counted, self.bad[place][counted]


def joined(batches: Sequence[Batch]) -> Batch:
    bad, counted, score = zip(*batches, strict=True)
    return Batch(np.concatenate(bad, 1), np.concatenate(counted, 1), np.concatenate(score))
