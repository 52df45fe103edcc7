"""Whether chunks come when they are made, or something on the way gathers them. Pure.

FAIL needs more than a pattern: an answer that people wait for and get at once, or bursts far apart that a clock, a
count or a buffer makes, or that are gone without compression or without the proxy. Jitter makes bursts, too.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from statistics import fmean, median, pstdev
from typing import NamedTuple

from streamgauge.harness.counting import some
from streamgauge.harness.doctor.checks.head import TELL_LENGTH
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.products import HAPROXY, fixes, recognised, who
from streamgauge.harness.doctor.result import Fix, Result, fail, fine, unknown, warn
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.drive.protocols import PROTOCOLS, Answer, Malformed
from streamgauge.harness.probe.complete import of_text, repeat
from streamgauge.harness.record.held_back import FEWEST_CHUNKS, STEADY, TOGETHER_MS
from streamgauge.harness.record.observation import CONTENT, Outcome

_WHOLE_TEXT = 100  # characters of one event: much more than the few tokens that a model may give at once
_WAITED = 1_000.0  # ms: who waits so long and then gets everything has been held up
_SEEN_APART = 200.0  # ms between bursts that a reader notices
_CORKED = (195.0, 225.0)  # ms between bursts that Linux makes of a socket that says "more will come", as HAProxy's
_FEWEST_INNER = 4  # bursts between the first and the last of answers, to know whether they are alike
_LAG = 0.05  # of the whole answer: our own lateness that cannot have made it come late and fast
_NEARLY, _MUCH_FASTER = 0.8, 0.25  # of the time that the server's own answer took
_MUCH_LATER = 300.0  # ms that a path may add to the first content
_TOKENS_EACH, _CHARACTERS_EACH = 2.5, 12.0  # of a chunk, on average: several tokens
_ACK = (35.0, 60.0)  # ms, Linux's delayed acknowledgement
_SPLIT = 0.5  # share of the events
_STALL = 800.0  # ms
_SILENCE = 15_000.0  # ms, from which known limits of a path begin
_COALESCING = "https://github.com/vllm-project/vllm/issues/27485"
_NAGLE = "https://www.rfc-editor.org/rfc/rfc1122#page-98"
_NOTES = "https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes"
_TTFT = "https://github.com/BerriAI/litellm/issues/26102"
_FILTER = "https://github.com/vercel/ai/issues/1066"
_GET = "https://github.com/cloudflare/cloudflared/issues/1449"


def streaming(evidence: Evidence) -> Result:
    pair = [seen for name in ("as_is", "warm") if (seen := evidence.seen.get(name)) is not None and seen.answered]
    judged = [seen for seen in pair if seen.judged]
    if not judged:
        return _in_one_piece(evidence, pair) or unknown(_unjudged(evidence, pair))
    free = [seen for seen in judged if not seen.held and not _late_and_fast(evidence, seen)]
    if free:
        seen = free[0]
        return fine(
            f"{_events(seen)} in {some(_bursts(seen), 'burst')}, {seen.pace:,.1f} ms apart; "
            f"the first after {seen.wait:,.0f} ms, the last after {seen.whole:,.0f} ms"
        )
    told, sure = _told(evidence, judged)
    blame = _blamed(evidence, judged)
    says = f"{told}; {blame.says}"
    if (sure or (blame.proved and _much_apart(evidence, judged))) and (len(judged) > 1 or blame.proved):
        return fail(says, *blame.fixes, headline=blame.headline)
    return warn(says, *blame.fixes, headline=blame.headline.replace("holds", "may hold", 1))


def _in_one_piece(evidence: Evidence, pair: Sequence[Seen]) -> Result | None:
    """Of answers that are one document, or one event that is long enough to be the whole text."""
    first = evidence.first
    if first is not None and first.instead == "one JSON document":
        told = f"one JSON document came after {first.ms.get('ended', 0.0):,.0f} ms, and no stream: {first.words}"
        if not _is_answer(evidence, first):
            return unknown(f"{told}. Does the endpoint take another key than `stream`, or another path?")
        return fail(
            told,
            Fix('the application: heed `"stream": true`; or the path that streams', _NOTES),
            headline="The server does not stream: its whole answer is one JSON document",
        )
    if not pair or any(len(seen.content) != 1 or seen.record.characters < _WHOLE_TEXT for seen in pair):
        return None
    whole = min(seen.whole or 0.0 for seen in pair)
    says = f"the whole answer, {pair[0].record.characters:,} characters, came as one event after {whole:,.0f} ms"
    fix = Fix("the application: send each piece of the answer as it is generated", _NOTES)
    if whole < _WAITED:
        return warn(says, fix, headline="The server may send its whole answer as one event")
    return fail(says, fix, headline="The server sends its whole answer as one event")


def _is_answer(evidence: Evidence, seen: Seen) -> bool:
    """Whether the body is an answer in one piece, as its protocol has it."""
    protocol = PROTOCOLS.get(evidence.protocol)  # type: ignore[call-overload]
    with suppress(Malformed):
        meaning = protocol.plain(seen.body, Answer()) if protocol is not None else None
        return meaning is not None and meaning.error is None and meaning.kind in CONTENT
    return False


def _unjudged(evidence: Evidence, pair: Sequence[Seen]) -> str:
    if not pair:
        return evidence.why_not("as_is") if evidence.first is None else "there was no answer to look at"
    most = max(pair, key=lambda seen: len(seen.content))
    if not most.content:
        waited = most.detail if most.outcome is Outcome.TIMED_OUT else "no content came"
        return evidence.no_stream if most.instead else waited
    if len(most.content) >= FEWEST_CHUNKS:
        return "this machine read the answers too late to tell: try again when it is less busy"
    return (
        f"only {some(len(most.content), 'content event')} came; with fewer than {FEWEST_CHUNKS}, coming together "
        "may be chance. Let the answer be longer (max_tokens, or another --question)"
    )


def _events(seen: Seen) -> str:
    return some(len(seen.content), "content event")


def _bursts(seen: Seen) -> int:
    return 0 if seen.pattern is None else int(seen.pattern.bursts[0])


def _told(evidence: Evidence, judged: Sequence[Seen]) -> tuple[str, bool]:
    """How the answers came, and whether that alone leaves no doubt."""
    seen = judged[0]
    if all(each.sudden or _late_and_fast(evidence, each) for each in judged):
        whole, span = median(each.whole or 0.0 for each in judged), median(each.span for each in judged)
        told = f"all {_events(seen)} came within {span:,.0f} ms, after {whole:,.0f} ms of silence"
        return told, whole >= _WAITED and all(each.collapsed for each in judged)
    bursts = _in_bursts(seen)
    each = len(seen.content) / max(1, len(bursts))
    how = _alike(judged)
    apart = _apart(seen)
    told = f"{_events(seen)} came in {some(len(bursts), 'burst')} of about {each:.0f}, {apart:,.0f} ms apart{how}"
    return told, bool(how) and _much_apart(evidence, judged)


def _much_apart(evidence: Evidence, judged: Sequence[Seen]) -> bool:
    return all(seen.sudden or _late_and_fast(evidence, seen) or _apart(seen) >= _SEEN_APART for seen in judged)


def _late_and_fast(evidence: Evidence, seen: Seen) -> bool:
    """Whether it began when the server itself had nearly sent its own answer, and then came much faster than that."""
    origin = [each for each in _at_origin(evidence) if each.judged and not each.held]
    if not origin or seen.lag > _LAG * (seen.whole or 0.0):
        return False
    return all(
        (seen.wait or 0.0) >= _NEARLY * (each.whole or 0.0) and seen.span <= _MUCH_FASTER * each.span for each in origin
    )


def _at_origin(evidence: Evidence) -> list[Seen]:
    return [evidence.seen[name] for name in ("origin", "origin_again") if name in evidence.seen]


def _apart(seen: Seen) -> float:
    """ms from one burst to the next: the median."""
    return median(_steps(seen) or [0.0])


def _steps(seen: Seen) -> list[float]:
    """ms from each burst to the next."""
    begins = [seen.moments[burst[0]] for burst in _in_bursts(seen)]
    return [after - before for before, after in pairwise(begins)]


def _in_bursts(seen: Seen) -> list[list[int]]:
    """The content events by burst, as places in `content`."""
    found: list[list[int]] = [[0]] if seen.content else []
    for place, (before, after) in enumerate(pairwise(seen.moments), 1):
        if after - before > TOGETHER_MS:
            found.append([])
        found[-1].append(place)
    return found


def _alike(answers: Sequence[Seen]) -> str:
    """What the bursts of all these answers share, in words; "" if nothing, as with jitter."""
    shared: dict[str, list[float]] = {
        ", by a timer": [], ", each of as many events": [], ", each of as many bytes": [],
    }  # fmt: skip
    steps, counts, sizes = shared.values()
    for seen in answers:
        inner = _in_bursts(seen)[1:-1]
        steps += [after - before for before, after in pairwise(seen.moments[burst[0]] for burst in inner)]
        counts += [float(len(burst)) for burst in inner]
        sizes += [float(sum(seen.content[place].size for place in burst)) for burst in inner]
    for how, values in shared.items():
        if len(values) >= _FEWEST_INNER and pstdev(values) < STEADY * fmean(values):
            return how
    return ""


class _Blame(NamedTuple):
    proved: bool  # another way of asking shows it
    says: str
    headline: str
    fixes: tuple[Fix, ...]


def _blamed(evidence: Evidence, judged: Sequence[Seen]) -> _Blame:
    """Who holds the chunks back."""
    flush = Fix("the application: flush each event", _NOTES)
    # Of all answers together: on a busy machine, one of them may have come later than the cork makes it.
    apart = median([step for seen in judged for step in _steps(seen)] or [0.0])
    corked = all(seen.coalesced for seen in judged) and _CORKED[0] <= apart <= _CORKED[1]
    products = [HAPROXY] if corked else evidence.products
    held, name = fixes(products, "held"), who(products, "held")
    identity = evidence.seen.get("identity")
    if _compressed(judged) and identity is not None and identity.judged and identity.spread_beside(judged):
        compressor = who(evidence.products, "compressed") or "a compressor on the way"
        says = "without compression they came one by one: what compresses them holds them"
        headline = f"Compression holds the stream back: {compressor}"
        return _Blame(True, says, headline, fixes(evidence.products, "compressed"))
    origin = [seen for seen in _at_origin(evidence) if seen.judged]
    if origin and all(seen.spread_beside(judged) for seen in origin):
        pace = max(seen.pace or 0.0 for seen in origin)
        says = f"the server itself sends them one by one, {pace:,.1f} ms apart: something in between holds them"
        innocent = recognised(seen.headers for seen in origin)
        between = [product for product in products if product not in innocent]
        if _compressed(judged) and (identity is None or not identity.judged):
            says = f"{says}, or what compresses them: no answer without compression was read in time"
            lines = (*fixes(between, "compressed"), *fixes(between, "held"))
            return _Blame(True, says, "A proxy or its compression holds the stream back", lines)
        headline = f"A proxy holds the stream back{_colon(who(between, 'held'))}"
        return _Blame(True, says, headline, fixes(between, "held"))
    if origin and all(seen.held for seen in origin):
        headline = "The server itself holds the stream back, and no proxy"
        return _Blame(True, "the server itself sends them so", headline, (flush, *held))
    gathered = any(product.name in TELL_LENGTH for product in evidence.products)
    if not gathered and all(seen.header("content-length") for seen in judged):
        says = "its length was known before its first byte was sent, so that the server had all of it"
        return _Blame(False, says, "The application sends the answer when all of it is there", (flush,))
    names = " and ".join(product.name for product in evidence.products)
    shown = f"recognised: {names}" if names else "no header names a product"
    says = f"who holds them is not known without --origin ({shown})"
    return _Blame(False, says, f"Something holds the stream back{f', perhaps {name}' if name else ''}", (*held, flush))


def _compressed(judged: Sequence[Seen]) -> bool:
    return all(seen.header("content-encoding") not in {"", "identity"} for seen in judged)


def _colon(name: str) -> str:
    return f": {name}" if name else ""


def path(evidence: Evidence) -> Result:
    here, there = (
        [seen for name in names if (seen := evidence.seen.get(name)) is not None and seen.completed]
        for names in (("as_is", "warm"), ("origin", "origin_again"))
    )
    if not here or not there:
        return unknown(evidence.why_not("origin"))
    if all(seen.held or _late_and_fast(evidence, seen) for seen in here):
        return unknown("the chunks were held back, so that the first one tells nothing of the path's own time")
    first, origin_first = (min(seen.wait or 0.0 for seen in side) for side in (here, there))
    paces = [median([pace for seen in side if (pace := seen.pace) is not None] or [0.0]) for side in (here, there)]
    ratio = f", median gap {paces[0]:,.1f} in place of {paces[1]:,.1f} ms" if paces[1] else ""
    both = f"{first:,.0f} and {origin_first:,.0f} ms"
    told = f"the first content {first - origin_first:+,.0f} ms against the server itself ({both}){ratio}"
    if first - origin_first > max(_MUCH_LATER, origin_first):
        return warn(told, Fix("look at what is in between: its buffers, its queue, its own model of the answer", _TTFT))
    return fine(told)


def chunks(evidence: Evidence) -> Result:
    repeating = next((seen for seen in evidence.ordinary if repeat(of_text(seen.events))), None)
    if repeating is not None:
        says = f"each of {some(len(repeating.content), 'chunk')} repeats all the text before it"
        fix = Fix("send in each chunk what is new, and not the whole text so far", _NOTES)
        if evidence.protocol == "custom" or len(repeating.content) < FEWEST_CHUNKS:  # its clients may know; by chance
            return warn(f"{says}: a client that joins them shows the text many times", fix)
        headline = "Each chunk repeats all the text before it"
        return fail(f"{says}: clients of {evidence.protocol} join them, and show it many times", fix, headline=headline)
    counted = [seen for seen in evidence.ordinary if seen.completed and seen.record.output_tokens and seen.content]
    if not counted:
        return unknown("no complete answer told its tokens")
    record = counted[0].record
    tokens = (record.output_tokens or 0) / record.content_chunks
    characters = record.characters / record.content_chunks
    told = f"{tokens:.1f} tokens and {characters:.1f} characters in a chunk, on average"
    least = _CHARACTERS_EACH if record.content_chunks > 1 else _WHOLE_TEXT
    if tokens >= _TOKENS_EACH and characters >= least:
        return warn(
            told, Fix("vLLM: --stream-interval 1; elsewhere, what gathers tokens before they are sent", _COALESCING)
        )
    return fine(told)


def whole_writes(evidence: Evidence) -> Result:
    """Nagle's algorithm and the delayed acknowledgement: the second of two small writes comes 40 ms late."""
    split = [ms for seen in evidence.ordinary for ms in seen.splits]
    if len(split) < FEWEST_CHUNKS:
        return unknown(f"{some(len(split), 'event')} came; {FEWEST_CHUNKS} are needed to tell")
    late = [ms for ms in split if _ACK[0] <= ms <= _ACK[1]]
    if len(late) >= _SPLIT * len(split):
        return fail(
            f"{len(late)} of {some(len(split), 'event')} came in two parts, {median(late):,.0f} ms apart",
            Fix("TCP_NODELAY, or one write for each event", _NAGLE),
            headline="Each event is sent in two writes, and the second waits 40 ms: Nagle's algorithm",
        )
    return fine(f"{some(len(split), 'event')} came whole, none in parts that wait for an acknowledgement")


def steady(evidence: Evidence) -> Result:
    judged = [seen for seen in evidence.ordinary if seen.judged and not seen.held]
    if not judged:
        return unknown("no answer to judge this by")
    longest = [max(seen.gaps) for seen in judged]
    stalls = [gap for seen, gap in zip(judged, longest, strict=True) if gap > max(_STALL, 10 * (seen.pace or 0.0))]
    pauses = ", ".join(f"{gap:,.0f} ms" for gap in longest)
    told = f"the longest pauses in the middle of {some(len(judged), 'answer')}: {pauses}"
    if len(stalls) > 1:
        return warn(told, Fix("the model's queue and its content filter; Azure: the asynchronous filter", _FILTER))
    return fine(told)


def silence(evidence: Evidence) -> Result:
    longest = max(_silences(evidence), default=None)
    if longest is None:
        return unknown("there was no stream to look at")
    if longest >= _SILENCE:
        return warn(
            f"nothing came for {longest / 1e3:,.1f} s, not even a comment", Fix(": keep-alive  # every 15 s", _NOTES)
        )
    pings = sum(event.what.startswith("ping") for seen in evidence.streams.values() for event in seen.events)
    if pings:
        return fine(f"{some(pings, 'sign')} of life; the longest silence was {longest / 1e3:,.1f} s")
    return unknown(f"the longest silence was {longest / 1e3:,.1f} s: too short to need a sign of life")


def _silences(evidence: Evidence) -> Iterator[float]:
    """ms without any event, from the head of each stream on."""
    for name, seen in evidence.streams.items():
        if name == "slow_reader":  # what makes it silent is how slowly we read
            continue
        moments = [event.at for event in seen.events if event.at is not None]
        head = seen.ms.get("headers")
        began = [head] if head is not None else []
        yield from (after - before for before, after in pairwise([*began, *moments]))


def get(evidence: Evidence) -> Result:
    seen, first = evidence.seen.get("get"), evidence.first
    if seen is None or first is None or seen.status is None:
        return unknown(evidence.why_not("get") if seen is None else seen.detail)
    if not seen.answered or not seen.judged:
        return unknown(f"HTTP {seen.status} to GET: there is nothing to compare")
    if seen.held and not first.held:
        return warn("by GET the events came together, by POST one by one", Fix("ask by POST", _GET))
    return fine("a stream comes by GET as it does by POST")
