"""How far an answer has come: decodes it while it comes, and only as far as a decision needs it. Pure."""

from streamgauge.harness.drive.protocols import Answer, Malformed, Protocol
from streamgauge.harness.drive.reading import sse
from streamgauge.harness.record.observation import CONTENT


class Progress:
    """Of one answer, whose `body` grows."""

    def __init__(self, protocol: Protocol, body: bytearray, stop_after: int | None) -> None:
        """`stop_after`: the content chunk after which the person stops; None: they read on."""
        self._protocol = protocol
        self._body = body
        self._stop_after = stop_after
        self._decoder = sse.Decoder()
        self._decoded = 0  # bytes of the body
        self._answer = Answer()
        self.content = 0  # chunks
        self.first_end: int | None = None  # where the first of them ends, in the body
        self.stop_end: int | None = None  # where the one ends after which the person stops
        self.over = False  # the terminal event came, or something that makes it pointless to wait for it

    def update(self) -> None:
        """Decode what has come since the last time."""
        fresh = bytes(self._body[self._decoded :])
        self._decoded += len(fresh)
        try:
            for event in self._decoder.feed(fresh):
                meaning = self._protocol.understand(event, self._answer)
                self.over = self.over or meaning.ends or meaning.error is not None
                if meaning.kind in CONTENT:
                    self._add_content(event.end)
        except Malformed:
            self.over = True  # the reason is found when the whole body is decoded

    def _add_content(self, end: int) -> None:
        self.content += 1
        if self.first_end is None:
            self.first_end = end
        if self.content == self._stop_after:
            self.stop_end = end

    @property
    def settled(self) -> bool:
        """Whether more events can change nothing here that a person's leaving depends on."""
        return self.over or self.stop_end is not None or (self.content > 0 and self._stop_after is None)
