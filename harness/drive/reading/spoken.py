"""The text of an answer, for conversations that repeat it to the server. Pure."""

from collections.abc import Callable

from streamgauge.harness.drive.protocols import Answer, Malformed, Protocol
from streamgauge.harness.drive.protocols.protocol import Meaning
from streamgauge.harness.drive.reading.framing import decoded, decoder
from streamgauge.harness.record.arrivals import Kind


def spoken(body: bytes, protocol: Protocol, breathe: Callable[[], None], *, streamed: bool) -> str:
    """The visible text of an answer as far as it came: no thinking and no tool input. "" if there is none."""
    try:
        meanings = _streamed(body, protocol, breathe) if streamed else [protocol.plain(body, Answer())]
    except Malformed:
        return ""
    return "".join(meaning.text for meaning in meanings if meaning.kind is Kind.TEXT)


def _streamed(body: bytes, protocol: Protocol, breathe: Callable[[], None]) -> list[Meaning]:
    answer, meanings = Answer(), []
    for event in decoded(decoder(protocol.framing), body, breathe):
        try:
            meanings.append(protocol.meaning_of(event, answer))
        except Malformed:
            break
        if meanings[-1].ends or meanings[-1].error is not None:
            break
    return meanings
