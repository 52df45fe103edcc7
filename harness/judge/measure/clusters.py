"""A sample of whole streams, large enough to estimate how correlated the samples of one stream are. Pure."""

from collections.abc import Sequence

import numpy as np

from streamgauge.harness.judge.measure.arrays import Integers


class ClusterSample:
    """Keeps at most about LIMIT samples: either all samples of a stream or none. The streams are chosen by a hash."""

    LIMIT = 1 << 17

    def __init__(self) -> None:
        self.share = 1 << 32  # of the hash's range: streams whose hashed id is below it are kept
        self._parts: list[tuple[Integers, Integers, Integers]] = []  # samples; their streams; how many each has
        self._count = 0

    def add(self, ticks: Integers, ids: Integers, counts: Integers) -> None:
        """Samples in the order of the streams `ids`; `counts` says how many of them each stream has."""
        kept = np.flatnonzero((_hashed(ids) < self.share) & (counts > 0))
        if not len(kept):
            return
        ends = np.cumsum(counts)[kept]
        ranges = zip((ends - counts[kept]).tolist(), ends.tolist(), strict=True)
        chosen = np.concatenate([ticks[slice(*each)] for each in ranges])
        self._parts.append((chosen, ids[kept], counts[kept]))
        self._count += len(chosen)
        while self._count > self.LIMIT and self.share > 1:
            self.thin(self.share // 2)

    def thin(self, share: int) -> None:
        if share >= self.share:
            return
        self.share = share
        ticks, ids, counts = self._whole()
        kept = _hashed(ids) < share
        ticks = ticks[np.repeat(kept, counts)]
        self._parts, self._count = [(ticks, ids[kept], counts[kept])], len(ticks)

    def samples(self) -> tuple[Integers, Integers]:
        """In the metric's ticks, stream after stream; and how many each stream has."""
        ticks, _, counts = self._whole()
        return ticks, counts

    def _whole(self) -> tuple[Integers, Integers, Integers]:
        nothing = np.zeros(0, np.int64)
        ticks, ids, counts = map(np.concatenate, zip((nothing, nothing, nothing), *self._parts, strict=True))
        return ticks, ids, counts


def joined(samples: Sequence[ClusterSample]) -> tuple[Integers, Integers]:
    """The ticks and counts of several samples as one, in which each stream has the same chance to be kept."""
    share = min((one.share for one in samples), default=0)
    for one in samples:
        one.thin(share)
    nothing = np.zeros(0, np.int64)
    ticks, counts = zip((nothing, nothing), *(one.samples() for one in samples), strict=True)
    return np.concatenate(ticks), np.concatenate(counts)


def _hashed(ids: Integers) -> Integers:
    """Knuth's multiplicative hash to 32 bits: spreads streams that are adjacent in the database."""
    return (ids * 2654435761) & 0xFFFFFFFF
