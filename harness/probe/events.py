"""What came, event by event: when, how many bytes, and what the protocol took each for. Pure."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from streamgauge.harness.drive.protocols import Answer, Malformed
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.protocols.protocol import Meaning, line
from streamgauge.harness.drive.reading.framing import decoded, decoder
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.record.arrivals import Kind
from streamgauge.harness.record.observation import CONTENT

_NAMES = {Kind.TEXT: "text", Kind.THINKING: "thinking", Kind.TOOL: "tool call"}
MOST = 20_000  # events: of more, the first ones say what there is to say
_EXCERPT = 200  # characters
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


class Taken(NamedTuple):
    """An event, and what it was taken for."""

    at: float | None  # ms since the question was due; None: unknown
    size: int  # bytes
    what: str
    excerpt: str  # one line, without secrets
    read: int  # the number of the read that completed it
    content: bool
    text: str = ""  # of content, without secrets


def taken(probe: Probe) -> list[Taken]:
    """The events up to the terminal event or the first fault, as the record counts them; at most `MOST`."""
    return list(islice(_taken(probe), MOST)) if probe.status is not None and probe.status // 100 == 2 else []


def rest(probe: Probe, events: list[Taken]) -> int:
    """How many bytes of the body are in none of these events."""
    return len(probe.body) - sum(event.size for event in events)


def _taken(probe: Probe) -> Iterator[Taken]:
    answer, first, limit = Answer(), True, probe.target.limits.event_bytes
    reads, clock, due_at = probe.transcript.reads, probe.site.clock, probe.transcript.due_at
    arrived = reads.arrived(clock).tolist()
    for event in _events(probe):
        number = min(reads.completing(event.end), max(0, len(arrived) - 1))
        at = (arrived[number] - due_at) / 1e6 if probe.asked and arrived else None
        before = _reported(answer)
        meaning = None
        with suppress(Malformed):
            meaning = probe.protocol.meaning_of(event, answer) if event.size <= limit else None
        if meaning is None:
            yield Taken(at, event.size, "not understood", _raw(event, probe.secret.blotted), number, False)
            return
        content = meaning.kind in CONTENT
        what = _what(event, meaning, before, answer)
        if content and first:
            what, first = f"first token: {what}", False
        shown = _quoted(meaning.text, probe.secret.blotted) if content else _raw(event, probe.secret.blotted)
        if meaning.error is not None:
            shown = line(probe.secret.blotted(meaning.error), _EXCERPT)
        elif news := _news(before, answer):
            shown = f"{shown} {news}" if content else line(probe.secret.blotted(news), _EXCERPT)
        text = probe.secret.blotted(meaning.text) if content else ""
        yield Taken(at, event.size, what, shown, number, content, text)
        if meaning.ends or meaning.error is not None:
            return


def _events(probe: Probe) -> Iterator[Event]:
    """Of raw text, each read is one."""
    if probe.protocol.framing != "text":
        yield from decoded(decoder(probe.protocol.framing), probe.body, lambda: None)
        return
    pieces, begin = decoder("text"), 0
    for end in probe.transcript.reads.columns()[0].tolist():
        yield from pieces.feed(probe.body[begin:end])
        begin = end


def _what(event: Event, meaning: Meaning, before: tuple[object, ...], answer: Answer) -> str:
    """What an event was taken for: one or more words, with commas."""
    if event.comment:
        return "ping (comment)"
    if meaning.error is not None:
        return "error"
    after = _reported(answer)
    found = [_NAMES[meaning.kind]] if meaning.kind in CONTENT else []
    found += ["ping"] if meaning.kind is Kind.PING else []
    found += ["usage"] if after[0] != before[0] else []
    found += ["stop reason"] if after[1] != before[1] else []
    found += ["end"] if meaning.ends else []
    found += ["not understood"] if after[2] != before[2] else []
    return ", ".join(found) or "no content"


def _reported(answer: Answer) -> tuple[object, ...]:
    tokens = tuple(getattr(answer, name) for name in _TOKENS)
    return tokens, answer.stop_reason, sum(answer.oddities.values()) if answer.unknown else 0


def _news(before: tuple[object, ...], answer: Answer) -> str:
    """What the answer has reported since: token counts and the stop reason."""
    after = _reported(answer)
    found = []
    if after[0] != before[0]:
        counts = ((name.replace("_", " "), getattr(answer, name)) for name in _TOKENS)
        found += [f"{name} {count:,}" for name, count in counts if count is not None]
    if after[1] != before[1]:
        found.append(f"stop reason {answer.stop_reason}")
    return ", ".join(found)


def _quoted(text: str, blotted: Callable[[str], str]) -> str:
    return f'"{line(blotted(text[:_EXCERPT]), _EXCERPT) or " " * len(text[:3])}"'


def _raw(event: Event, blotted: Callable[[str], str]) -> str:
    data = event.data[: 2 * _EXCERPT].decode("utf-8", "replace")
    if event.comment:
        return line(blotted(f": {data}"), _EXCERPT)
    return line(blotted(f"event: {event.name[:80]} {data}" if event.name else data), _EXCERPT)
