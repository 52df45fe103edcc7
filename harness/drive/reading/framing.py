"""How the bytes of a body are cut into events, by the protocol's framing. Pure."""

from collections.abc import Callable, Iterator

from streamgauge.harness.config.schema import Framing
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.reading import ndjson, sse

Decoder = sse.Decoder | ndjson.Decoder

_DECODERS: dict[Framing, type[sse.Decoder] | type[ndjson.Decoder]] = {"sse": sse.Decoder, "ndjson": ndjson.Decoder}
_PART = 16_384  # bytes decoded between two breaks
SEPARATORS: dict[Framing, bytes] = {"sse": b"\n\n", "ndjson": b"\n"}  # what nearly every event ends with


def decoder(framing: Framing) -> Decoder:
    """A decoder for one body."""
    return _DECODERS[framing]()


def decoded(decoder: Decoder, body: bytes, breathe: Callable[[], None]) -> Iterator[Event]:
    """The events of a whole body; `breathe` is called between two parts of it, since a body may take long."""
    for at in range(0, len(body), _PART):
        yield from decoder.feed(body[at : at + _PART])
        breathe()
    yield from decoder.finish()
