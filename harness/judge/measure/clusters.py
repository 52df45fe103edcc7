"""A sample of whole streams, large enough to estimate how correlated the samples of one stream are. Pure."""

from collections.abc import Sequence

import numpy as np

from streamgauge.harness.judge.measure.arrays import Integers


class ClusterSample:
    """Keeps at most about LIMIT samples: either all samples of a stream or none. The streams are chosen by a hash."""

    LIMIT = 1 << 17

    def __init__(self) -> None:
        self.share = 1 << 32  # of the hash's range: streams whose hashed id is below it are kept
        self.ticks = np.zeros(0, np.int64)
        self.owners = np.zeros(0, np.int64)  # of each sample: the id of its stream

    def add(self, ticks: Integers, ids: Integers, counts: Integers) -> None:
        """Samples in the order of the streams `ids`; `counts` says how many of them each stream has."""
        kept = _hashed(ids) < self.share
        self.ticks = np.concatenate([self.ticks, ticks[np.repeat(kept, counts)]])
        self.owners = np.concatenate([self.owners, np.repeat(ids[kept], counts[kept])])
        while len(self.ticks) > self.LIMIT and self.share > 1:
            self.thin(self.share // 2)

    def thin(self, share: int) -> None:
        self.share = min(share, self.share)
        kept = _hashed(self.owners) < self.share
        self.ticks, self.owners = self.ticks[kept], self.owners[kept]


def joined(samples: Sequence[ClusterSample]) -> tuple[Integers, Integers]:
    """The ticks and owners of several samples as one, in which each stream has the same chance to be kept."""
    share = min((one.share for one in samples), default=0)
    for one in samples:
        one.thin(share)
    nothing = np.zeros(0, np.int64)
    return (
        np.concatenate([nothing, *(one.ticks for one in samples)]),
        np.concatenate([nothing, *(one.owners for one in samples)]),
    )


def _hashed(ids: Integers) -> Integers:
    """Knuth's multiplicative hash to 32 bits: spreads streams that are adjacent in the database."""
    return (ids * 2654435761) & 0xFFFFFFFF
