"""When the person gets each read over the emulated link. Pure."""

import numpy as np
from numpy.typing import NDArray

from streamgauge.harness.drive.network import Link
from streamgauge.harness.drive.wire.reads import Reads
from streamgauge.harness.record.clock import RunClock


class Delivery:
    """The deliveries of one stream. Times are CLOCK_MONOTONIC ns."""

    __slots__ = ("_link", "_moments", "_reads", "began", "clock", "emulated")

    def __init__(self, link: Link, clock: RunClock, began: int, reads: Reads) -> None:
        """`began`: when the stream began to connect, which is the link's zero. `reads` may still grow."""
        self._link = link
        self.clock = clock
        self._reads = reads
        self.began = began
        self.emulated = link.emulated
        self._moments: list[int] = []  # of each read so far; the link must be asked once for each read, in order

    def shown_at(self, place: int) -> int:
        """When the person has the body up to `place`. That part must have been read."""
        number = self._reads.completing(place)
        while len(self._moments) <= number:
            self._deliver(len(self._moments))
        return self._moments[number]

    def shown(self) -> NDArray[np.int64]:
        """When the person has each read."""
        began, deliver, delivered = self.began, self._link.deliver, len(self._moments)
        ends, _, _ = self._reads.columns()
        arrived = (self._reads.arrived(self.clock) - began)[delivered:].tolist()
        sizes = np.diff(ends, prepend=0)[delivered:].tolist()
        self._moments += [began + deliver(at, size) for at, size in zip(arrived, sizes, strict=True)]
        return np.array(self._moments, np.int64)

    def _deliver(self, number: int) -> None:
        read = self._reads[number]
        before = self._reads[number - 1].end if number else 0
        at = read.arrived(self.clock) - self.began
        self._moments.append(self.began + self._link.deliver(at, read.end - before))
