"""When the person has what the wire brought: the emulated link's deliveries, read by read. Pure."""

from streamgauge.harness.drive.network import Link
from streamgauge.harness.drive.wire.reads import Reads
from streamgauge.harness.record.clock import RunClock


class Delivery:
    """Of one stream, for as many of its first reads as was asked for. Times are CLOCK_MONOTONIC ns."""

    __slots__ = ("_clock", "_link", "_reads", "began", "moments")

    def __init__(self, link: Link, clock: RunClock, began: int, reads: Reads) -> None:
        """`began`: when the stream began to connect, the link's zero. `reads` grows."""
        self._link = link
        self._clock = clock
        self._reads = reads
        self.began = began
        self.moments: list[int] = []  # of each read so far

    def shown_at(self, place: int) -> int:
        """When the person has the body up to `place`, which has been read."""
        number = self._reads.completing(place)
        while len(self.moments) <= number:
            self._deliver(len(self.moments))
        return self.moments[number]

    def _deliver(self, number: int) -> None:
        """The link draws its delays in order, so each read is delivered once."""
        read = self._reads[number]
        before = self._reads[number - 1].end if number else 0
        at = read.arrived(self._clock) - self.began
        self.moments.append(self.began + self._link.deliver(at, read.end - before))
