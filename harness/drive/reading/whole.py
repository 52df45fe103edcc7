"""The record of an answer that was not streamed, made from its transcript. Pure.

The person has nothing until all of it has arrived, so the answer is one chunk, whose first token is its last.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from streamgauge.harness.counting import some
from streamgauge.harness.drive.protocols import Answer, Malformed
from streamgauge.harness.drive.protocols.protocol import Meaning
from streamgauge.harness.drive.reading.ending import of_answer
from streamgauge.harness.drive.reading.transcript import Transcript, observe, sentence, word
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import CONTENT, Chunk, Outcome, StreamObservation, content_moments


def with_total_timeout_only(site: Site) -> Site:
    """The site with the total timeout only: an answer in one piece brings nothing before its end."""
    timeouts = site.target.timeouts
    timeouts = msgspec.structs.replace(timeouts, first_token=timeouts.total, idle=timeouts.total)
    return replace(site, target=msgspec.structs.replace(site.target, timeouts=timeouts))


def observe_whole(transcript: Transcript, site: Site, identity: Mapping[str, Any]) -> StreamObservation:
    """The record of an answer that was asked for in one piece. Nothing that a server sends makes it raise."""
    any_type = {**transcript.headers, "content-type": ""}  # any is accepted
    transcript = replace(transcript, headers=any_type)
    seen = observe(transcript, site, identity)
    broken = transcript.broken is not None
    if seen.outcome is not Outcome.TRUNCATED:
        return seen
    # The answer has ended, and it contained no terminal event: decode it as one document.
    if not transcript.complete:
        return _ended(seen, site, Outcome.TRUNCATED, _cut(transcript))
    if not transcript.body or (broken and site.protocol.framing == "text"):  # text does not show that it is cut short
        return seen
    answer = Answer()
    try:
        meaning = site.protocol.plain(bytes(transcript.body), answer)
    except Malformed as fault:
        if broken:
            return seen
        return _ended(seen, site, Outcome.MALFORMED, str(fault))
    if meaning.error is not None:
        outcome = Outcome.REFUSED if meaning.refused else Outcome.SERVER_ERROR
        return _ended(seen, site, outcome, meaning.error)
    answer.visible = meaning.kind in CONTENT and meaning.visible
    outcome, detail = of_answer(answer, site.protocol, "marker", brought=meaning.kind in CONTENT)
    later = transcript.delivery.emulated or transcript.away is not None
    chunk = _chunk(transcript, meaning, site.clock, seen.ended_at if later else None)
    return msgspec.structs.replace(
        _ended(seen, site, outcome, detail),
        **content_moments([chunk]),
        arrivals=arrivals.encode([chunk]),
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        cache_read_tokens=answer.cache_read_tokens,
        cache_write_tokens=answer.cache_write_tokens,
        stop_reason=word(answer.stop_reason, site.secret),
        oddities=seen.oddities | answer.oddities,
    )


def _cut(transcript: Transcript) -> str:
    length = transcript.headers.get("content-length", "")
    if length.isdecimal() and not transcript.headers.get("content-encoding"):
        return f"{some(len(transcript.body), 'byte')} of the {length} that were promised"
    return "the connection was closed in mid-answer, before the HTTP message's end"


def _ended(seen: StreamObservation, site: Site, outcome: Outcome, detail: str) -> StreamObservation:
    return msgspec.structs.replace(seen, outcome=outcome, detail=sentence(detail, site.secret))


def _chunk(transcript: Transcript, meaning: Meaning, clock: RunClock, perceived_at: int | None) -> Chunk:
    """The answer as one chunk, which the last read completed. `perceived_at` None: the person had it at once."""
    at = clock.from_monotonic(transcript.reads[-1].arrived(clock))
    perceived_at = at if perceived_at is None else perceived_at
    handed_at = None
    if transcript.handed:
        handed_at = perceived_at + max(0, clock.from_monotonic(transcript.handed[-1]) - at)
    return Chunk(at, meaning.kind, meaning.characters, len(transcript.body), perceived_at, handed_at)
