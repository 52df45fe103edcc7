"""The progress of an answer: decodes it while it arrives, but only if a decision depends on it. Pure."""

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy

from streamgauge.harness.drive.protocols import Answer, Malformed, Protocol
from streamgauge.harness.drive.reading.framing import decoder
from streamgauge.harness.record.observation import CONTENT

_PART = 4_096  # bytes decoded at a time: a few milliseconds, even if each line is an event


class Progress:
    """The progress of one answer, whose `body` grows."""

    def __init__(
        self,
        protocol: Protocol,
        body: bytearray,
        stop_after: int | None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        """`stop_after`: number of content chunks after which the person stops; None: they read to the end.

        `breathe` is called between two parts of a long `update`; meanwhile, the body may grow.
        """
        self._protocol = protocol
        self._body = body
        self._stop_after = stop_after
        self._breathe = breathe
        self._decoder = decoder(protocol.framing)
        self._decoded = 0  # bytes of the body decoded so far
        self._answer = Answer()
        self.content = 0  # number of content chunks so far
        self.first_end: int | None = None  # offset in the body at which the first of them ends
        self.stop_end: int | None = None  # offset at which the chunk ends after which the person stops
        self.over = False  # the terminal event has arrived, or something after which it does not matter

    def update(self) -> None:
        """Decode all that has arrived."""
        while self.advance():
            self._breathe()

    def advance(self) -> bool:
        """Decode the next part of what has arrived. Returns whether there is more."""
        fresh = bytes(self._body[self._decoded : self._decoded + _PART])
        self._decoded += len(fresh)
        try:
            for event in self._decoder.feed(fresh):
                meaning = self._protocol.meaning_of(event, self._answer)
                self.over = self.over or meaning.ends or meaning.error is not None or self._answer.gave_up
                if meaning.kind in CONTENT:
                    self._add_content(event.end)
        except Malformed:
            self.over = True  # `body.decode` finds the reason when the stream has ended
        return self._decoded < len(self._body) and not self.over

    def _add_content(self, end: int) -> None:
        self.content += 1
        if self.first_end is None:
            self.first_end = end
        if self.content == self._stop_after:
            self.stop_end = end

    @property
    def failing(self) -> bool:
        """Whether the event that has begun tells an error already, and only its end has not come."""
        rest = deepcopy(self._decoder)
        found = [*rest.finish(), *rest.cut_off()]
        with suppress(Malformed):
            return any(self._protocol.meaning_of(event, Answer()).error is not None for event in found)
        return False

    @property
    def settled(self) -> bool:
        """Whether further events cannot change when the person leaves."""
        return self.over or self.stop_end is not None or (self.content > 0 and self._stop_after is None)
