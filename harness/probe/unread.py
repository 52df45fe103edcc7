"""What to change if the server said yes (2xx) and its answer is no complete stream to us. Pure."""

import re
from collections.abc import Iterator

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.counting import some
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.probe.complaints import of_words
from streamgauge.harness.probe.events import Taken, rest
from streamgauge.harness.probe.formats import looks_like
from streamgauge.harness.probe.guess import guess
from streamgauge.harness.probe.keys import about_keys, of_keys
from streamgauge.harness.probe.refusals import too_many
from streamgauge.harness.probe.samples import Sample
from streamgauge.harness.record.held_back import FEWEST_CHUNKS, Pattern
from streamgauge.harness.record.observation import SEVERAL_TOKENS, Outcome

_MANY = 8  # content events from which on their arrival says whether something buffers
_BROKEN = re.compile("^not HTTP|bytes in a row without|but the body is not")
_RATE = re.compile(r"rate.?limit|\b429\b|quota|too many requests|resource.?exhausted", re.IGNORECASE)
_TEXT = lines.target(protocol="custom", end="close", events={"framing": "text"})
_SLOW = 500.0  # ms; an answer in one piece that took less may simply be a fast one


def unread(probe: Probe, events: list[Taken]) -> Iterator[Advice]:
    """A 2xx that is no complete answer to us."""
    sample = Sample(probe.body, probe.headers)
    yield from _end_of_target(probe)
    if probe.seen.outcome is Outcome.SERVER_ERROR:
        yield from of_words(probe)
        if about_keys(probe):
            yield from of_keys(probe)
            return
        if _RATE.search(probe.seen.detail):
            yield from too_many(probe)
            return
        yield Advice("The server itself reports this error. What it says is above; its log may say more.")
        return
    if probe.seen.outcome is Outcome.EMPTY:
        yield from _empty(probe)
    yield from _wrapped(sample)
    yield from _of_format(probe, sample)
    yield from _no_stream(probe, sample, events)
    yield from late(probe, events)
    yield from _cut(probe, events)
    yield from _limits(probe)


def misread(probe: Probe) -> Iterator[Advice]:
    """Of a complete answer: its JSON was counted as text, because the config says that all data is text."""
    sample = Sample(probe.body, probe.headers)
    looks = looks_like(sample)
    if not _json_is_text(probe, sample) or (looks is not None and looks.protocol == "plain_sse"):
        return
    name, found = (looks.name, looks.lines) if looks is not None else ("a format of its own", guess(sample))
    if found:
        yield Advice(
            f"But this looks like {name}: with {probe.protocol.name}, its JSON counts as text.",
            _with_path(probe, found),
        )


def _json_is_text(probe: Probe, sample: Sample) -> bool:
    """Whether the config says that all data is text, and most of it is JSON."""
    events = probe.target.events
    all_is_text = probe.protocol.name == "plain_sse" or (events is not None and events.text is None)
    return all_is_text and 2 * len(sample.tables) > len(sample.events)


def _end_of_target(probe: Probe) -> Iterator[Advice]:
    """The `end` that the detail names: the reading knows best when it helps."""
    found = re.search(r'target\.end = "(finish_reason|marker)"', probe.seen.detail)
    if found is None:
        return
    if found[1] == "finish_reason":
        says = "The answer has its stop reason, but this server does not send its protocol's terminal event:"
    else:
        says = "The answer has its terminal event, but no stop reason. Only if this server never gives one:"
    yield Advice(says, lines.target(end=found[1]))


def _wrapped(sample: Sample) -> Iterator[Advice]:
    """Events that something between the server and us has put together wrongly."""
    first = [event.data for event in sample.events[:_MANY]]
    if first and all(data.lstrip().startswith(b"data:") for data in first):
        yield Advice(
            "The data of each event begins with `data:` once more: something wraps events that already were ones, as a "
            "gateway does. No SDK can read this: correct the gateway."
        )
    elif any(sum(line.startswith(b"{") and line.endswith(b"}") for line in data.split(b"\n")) > 1 for data in first):
        yield Advice(
            "Several events are one here, because no blank line separates them. No SDK can read this: the server, or "
            "what adds the framing, must end each event with a blank line."
        )


def _of_format(probe: Probe, sample: Sample) -> Iterator[Advice]:
    looks = looks_like(sample)
    if looks is not None and looks.protocol == probe.protocol.name != "custom" and not looks.lacks:
        return
    if looks is None:
        text = guess(sample) if probe.seen.content_chunks == 0 or _json_is_text(probe, sample) else None
        if text is not None:
            no_end = 'end = "close"' in text
            yield Advice(
                "The events have a format of their own. A guess from this one answer; check it against a second"
                + (". Nothing in it told its end, so that any end of the response counts:" if no_end else ":"),
                _with_path(probe, text),
                likely=not no_end,
            )
        return
    if not looks.lines:
        yield Advice(f"This looks like {looks.name}, which streamgauge does not read: {looks.why_not}.")
    elif looks.lacks:
        yield Advice(
            f"This looks like {looks.name}. Ask for them with {looks.lacks} in the path:",
            _with_path(probe, looks.lines, looks.lacks),
        )
    elif probe.protocol.name != "custom" or probe.seen.content_chunks == 0:
        yield Advice(
            f"This looks like {looks.name}, and the config says {probe.protocol.name}:", _with_path(probe, looks.lines)
        )


def _with_path(probe: Probe, text: str, lacks: str = "") -> str:
    """The lines, with the path that was asked unless it is that of the protocol that they name.

    `lacks`: what is to be in the path's query.
    """
    if not probe.asked:
        return text
    name = re.search(r'^protocol = "(\w+)"$', text, re.MULTILINE)
    path = probe.target.path or probe.protocol.path
    if lacks:
        path = f"{path}{'&' if '?' in path else '?'}{lacks}"
    if name is None or path == lines.usual_path(name[1], probe.target.model):
        return text
    return text.replace(name[0], f"{name[0]}\npath = {lines.value(path)}", 1)


def _no_stream(probe: Probe, sample: Sample, events: list[Taken]) -> Iterator[Advice]:
    if sample.markup:
        yield Advice(
            "This is a web page. The URL leads to a website, a login or a proxy's page, and not to the endpoint: "
            "check the URL and path.",
            lines.target(path="/…"),
            likely=False,
        )
    elif isinstance(sample.document, dict | list) and not sample.lines and not probe.seen.content_chunks:
        omitted = "stream" in probe.target.omit or probe.target.request is not None
        yield Advice(
            "The whole answer came as one JSON document: the server did not stream. "
            + ("Send what makes it stream:" if omitted else "Does it take another key than `stream`, or another path?"),
            lines.target(body={"stream": True}) if omitted and probe.target.request is None else "",
            likely=omitted,
        )
    elif probe.body.startswith(b"\x1f\x8b") or "encoded" in probe.seen.detail:
        yield Advice(
            "The stream is compressed in a way that cannot be read, or that its headers do not tell. Correct the "
            "server or the proxy, or ask for what it can do:",
            lines.target(headers={"accept-encoding": "gzip, br"}),
        )
    elif probe.body and not events and not sample.events and not sample.lines:
        yield Advice(
            "This is text without events: where a token ends cannot be told. Better is an endpoint that sends "
            "server-sent events, or a JSON document on each line.",
            _with_path(probe, _TEXT) if sample.kind == "text/plain" else "",
            likely=False,
        )
    elif (
        events and all(event.what.startswith("ping") for event in events) and not probe.seen.detail.startswith("first")
    ):
        yield Advice(
            "Only keep-alives came, and no answer: the server, or a gateway in front of it, waited for the model and "
            "gave up. Look at its log."
        )
    elif not probe.body and _BROKEN.search(probe.seen.detail):
        yield Advice("No client can read this. Correct the server, or the proxy in front of it.")
    elif not probe.body and probe.seen.outcome in {Outcome.TRUNCATED, Outcome.MALFORMED}:
        yield Advice(
            "The server said yes and sent nothing. Look at its log; the path may be of another kind of request."
        )


def _empty(probe: Probe) -> Iterator[Advice]:
    seen = probe.seen
    if seen.stop_reason in {"length", "max_tokens", "max_output_tokens", "MAX_TOKENS"}:
        most = probe.target.max_tokens
        yield Advice(
            f"The answer stopped at max_tokens = {most} and no text came: the model may think first, and not show it.",
            lines.target(max_tokens=max(4_000, 4 * most)),
        )
    elif seen.output_tokens:
        yield Advice(
            f"The server counts {seen.output_tokens:,} output tokens, and no event had text where "
            f"{probe.protocol.name} has it. `streamgauge try --all` shows the events."
        )
    else:
        yield Advice("The model said nothing. Ask it something else, or another model.")


def late(probe: Probe, events: list[Taken]) -> Iterator[Advice]:
    seen = probe.seen
    if seen.outcome is not Outcome.TIMED_OUT or seen.connected_at is None:
        return
    timeouts = probe.target.timeouts
    name = next((key for key in ("first_token", "idle", "total") if seen.detail.startswith(key.replace("_", " "))), "")
    if not name:
        return
    longer = str(Duration(4 * getattr(timeouts, name)))
    if probe.status is None:
        says = "The server took the request and has sent nothing, not even headers. If it may take longer:"
    elif not events:
        says = "The server sent headers and then no event. If it may take longer:"
    elif name == "first_token":
        says = f"The server sent {some(len(events), 'event')}, none of them content. If it may take longer:"
    elif name == "total":
        says = (
            f"The server had sent {some(len(events), 'event')}, and not the end, when its time was over. For more time:"
        )
    else:
        says = f"The server sent {some(len(events), 'event')} and then nothing. If it may take longer:"
    yield Advice(says, lines.target(timeouts={name: longer}), likely=False)


def _cut(probe: Probe, events: list[Taken]) -> Iterator[Advice]:
    """An answer that began well and did not come to its end."""
    seen = probe.seen
    if not any(event.content for event in events):
        return
    after = "" if (end := probe.ms(seen.ended_at)) is None else f" after {end / 1000:,.1f} s"
    if seen.outcome is Outcome.RESET or "closed in mid-answer" in seen.detail:
        yield Advice(
            f"The connection broke in mid-answer{after}. Ask again: if it always breaks after the same time, it is "
            "a proxy's timeout; if not, the server restarts or crashes: look at its log."
        )
    elif seen.outcome is Outcome.TRUNCATED and rest(probe, events):
        yield Advice(f"The answer stopped{after} in the middle of an event: the server failed. Look at its log.")
    elif seen.outcome is Outcome.TRUNCATED and "target.end" not in seen.detail:
        yield Advice(
            f"The answer stopped{after} without its end, and without an error: the server or a proxy has cut it off. "
            "Only if all answers end like this, and at their full length, the server has no terminal event:",
            lines.target(end="close"),
            likely=False,
        )
    elif seen.outcome is Outcome.MALFORMED and rest(probe, events):
        yield Advice("The last event above cannot be read. What an SDK could read is read: correct the server.")


def _limits(probe: Probe) -> Iterator[Advice]:
    for key, words in (("stream_bytes", "the answer is longer"), ("event_bytes", "an event of")):
        if words in probe.seen.detail:
            limit = getattr(probe.target.limits, key)
            says = f"The answer is larger than limits.{key}. If that is what it should be:"
            yield Advice(says, lines.target(limits={key: 4 * limit}), likely=False)


def in_one_piece(probe: Probe, events: list[Taken]) -> Iterator[Advice]:
    """Whether something holds events back, so that the figures of streaming would be its own."""
    content = [event for event in events if event.content]
    if not probe.asked:
        return
    if len(content) == 1 and probe.seen.characters >= SEVERAL_TOKENS and probe.seen.answer == "streamed":
        yield Advice(
            f"The whole answer, {probe.seen.characters:,} characters, came in one event: the server does not stream "
            "it. ttft is the time of the whole answer, and there is no itl. A filter of the answer or a guardrail may "
            "wait for its end."
        )
    if len(content) < _MANY:
        return
    reads = {event.read for event in content}
    moments = sorted({event.at for event in content if event.at is not None})
    first, last = (moments[0], moments[-1]) if moments else (0.0, 0.0)
    pattern = Pattern.of(first, [event.at for event in content if event.at is not None] or [0.0])
    # A long answer takes several reads, however fast it comes.
    at_once = len(reads) == 1 or (len(reads) * _MANY <= len(content) and bool(pattern.collapsed[0]))
    if at_once and first > _SLOW:
        yield Advice(
            f"All {len(content):,} events came in one piece after {first / 1000:,.1f} s: the server, or a proxy in "
            "between, buffers the answer. With nginx, `proxy_buffering off;` or the header x-accel-buffering: no."
        )
    elif at_once:
        yield Advice(
            f"All {len(content):,} events came in one piece after {first:,.0f} ms. Unless this is a mock or a cached "
            "answer, the server or a proxy in between buffers it: with nginx, `proxy_buffering off;` or the header "
            "x-accel-buffering: no. itl and tpot say nothing here."
        )
    elif pattern.coalesced[0] and len(content) >= FEWEST_CHUNKS and last - first > _SLOW / 2:
        yield Advice(
            f"The {some(len(content), 'event')} came in {some(len(reads), 'burst')}: something gathers them, as a "
            "proxy's buffer does. itl then is the buffer's."
        )
