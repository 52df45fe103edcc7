"""How the bytes of a body are cut into events, by the protocol's framing. Pure."""

from collections.abc import Callable, Iterator
from contextlib import suppress

from streamgauge.harness.config.schema import Framing
from streamgauge.harness.drive.protocols import Answer, Malformed, Meaning
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.reading import ndjson, sse, text

Decoder = sse.Decoder | ndjson.Decoder | text.Decoder

_DECODERS: dict[Framing, type[Decoder]] = {"sse": sse.Decoder, "ndjson": ndjson.Decoder, "text": text.Decoder}
_PART = 16_384  # bytes decoded between two breaks
# What nearly every event ends with; b"": what arrived at once is an event.
SEPARATORS: dict[Framing, bytes] = {"sse": b"\n\n", "ndjson": b"\n", "text": b""}


def decoder(framing: Framing) -> Decoder:
    """A decoder for one body."""
    return _DECODERS[framing]()


def decoded(decoder: Decoder, body: bytes, breathe: Callable[[], None]) -> Iterator[Event]:
    """The events of a whole body; `breathe` is called between two parts of it, since a body may take long."""
    for at in range(0, len(body), _PART):
        yield from decoder.feed(body[at : at + _PART])
        breathe()
    yield from decoder.finish()


def cut_off_error(decoder: Decoder, understand: Callable[[Event, Answer], Meaning]) -> list[Event]:
    """The event that the end of the body cuts off, if it tells an error. Anything else that is cut off never came."""
    found = decoder.cut_off()
    with suppress(Malformed):
        return [event for event in found if understand(event, Answer()).error is not None]
    return []
