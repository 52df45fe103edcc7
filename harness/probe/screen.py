"""What `try` found, for a terminal of 80 columns or more. What comes from outside cannot act on the terminal."""

import textwrap
from ipaddress import ip_address
from itertools import groupby, pairwise
from statistics import median

from streamgauge.harness.counting import some
from streamgauge.harness.drive.protocols.protocol import line
from streamgauge.harness.judge.outputs.rich_text import Console, Table, safe, status, table_of
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.probe.events import MOST, Taken, rest
from streamgauge.harness.probe.sent import sent
from streamgauge.harness.probe.trying import Result, Try

_FOLDED_FROM = 4  # events of one kind in a row
_MOST_ROWS = 24  # of the table, unless all are asked for
_LAST_ROWS = 6  # of these, so many are the last ones
_COLUMNS = ("ms", "bytes", "taken for", "what came")
_GAP = 2  # columns between two columns of the table
_LEAST = 20
_BODY = 400  # characters of the request's body
_MOST_TEXTS = 200  # events
_SAME = 40  # characters by which one knows that the detail has these words
_WORDS = 480  # characters of an answer that has no events


def show(result: Result, console: Console, *, every: bool) -> None:
    """`every`: each event by itself, and the whole request."""
    first = result.first
    _request(first.probe, console, every=every)
    _came(first, console, every=every)
    _verdict(first, console)
    _advice(result, console)
    _again(result, console, every=every)


def _request(probe: Probe, console: Console, *, every: bool) -> None:
    if not probe.asked:
        return
    request = sent(probe)
    console.print(safe(f"{request.method} {request.url}"))
    if probe.seen.sent_at is None and not every:  # nothing of it has left this machine
        console.print()
        return
    for name, value in request.headers.items():
        console.print(safe(f"  {name}: {value}"), style="dim")
    if request.body:
        body = request.body if every or len(request.body) <= _BODY else f"{request.body[:_BODY]}…"
        for part in textwrap.wrap(body, console.width - 2, drop_whitespace=False):
            console.print(safe(f"  {part}"), style="dim")
    console.print()


def _came(made: Try, console: Console, *, every: bool) -> None:
    probe, events = made.probe, made.events
    if probe.asked and probe.status is not None:
        kind = probe.headers.get("content-type", "no content type")
        kind += f", {probe.headers['content-encoding']}" if "content-encoding" in probe.headers else ""
        console.print(
            safe(f"HTTP {probe.status}, {kind}: {some(len(probe.body), 'byte')}, {some(len(events), 'event')}")
        )
    if events:
        console.print(_table(events, console.width, every=every))
    left = rest(probe, events)
    if not events and probe.words and probe.words[:_SAME] not in made.probe.seen.detail:
        cut = "…" if len(probe.words) > _WORDS else ""
        console.print(safe(f"  {probe.words[:_WORDS]}{cut}"))
    elif events and probe.body[len(probe.body) - left :].strip():
        after = "came after the end" if events[-1].what.endswith("end") else "are in no event"
        why = "are not shown" if len(events) == MOST else after
        console.print(safe(f"  … and {some(left, 'byte')} that {why}"), style="dim")
    if probe.status is not None:
        console.print()


def _table(events: list[Taken], width: int, *, every: bool) -> Table:
    table = table_of(*(f">{name}" for name in _COLUMNS[:2]), *_COLUMNS[2:])
    rows = [[_row(event)] for event in events] if every else _rows(events)
    flat = [row for group in rows for row in group]
    if not every and len(flat) > _MOST_ROWS:
        left = len(flat) - _MOST_ROWS
        flat[_MOST_ROWS - _LAST_ROWS : -_LAST_ROWS] = [("", "", "…", f"{left:,} more rows: --all shows them")]
    last = table.columns[-1]
    room = width - sum(_GAP + max(map(len, cells)) for cells in list(zip(_COLUMNS, *flat, strict=True))[:-1])
    last.no_wrap, last.overflow, last.max_width = True, "ellipsis", max(_LEAST, room)
    for row in flat:
        table.add_row(*map(safe, row))
    return table


_SAY_ENOUGH = {"text", "thinking", "tool call", "ping"}
_Row = tuple[str, str, str, str]


def _rows(events: list[Taken]) -> list[list[_Row]]:
    """The rows of the table, with several events of one kind in a row as one."""
    found = []
    for what, group in groupby(events, key=lambda event: event.what):
        same = list(group)
        if len(same) < _FOLDED_FROM:
            found.append([_row(event) for event in same])
            continue
        of_their_own = what in _SAY_ENOUGH  # otherwise, the first of them shows what they are
        folded = same if of_their_own else same[1:]
        size, more = sum(event.size for event in folded), "" if of_their_own else "more "
        row = ("…", f"{size:,}", what, f"{len(folded):,} {more}events{_apart(same)}")
        found.append([row] if of_their_own else [_row(same[0]), row])
    return found


def _row(event: Taken) -> _Row:
    at = "" if event.at is None else f"{event.at:8,.1f}"
    return at, f"{event.size:,}", event.what, event.excerpt


def _apart(events: list[Taken]) -> str:
    moments = [event.at for event in events if event.at is not None]
    gaps = [after - before for before, after in pairwise(moments)]
    if not gaps:
        return ""
    if max(gaps) < 0.05:
        return ", all at once"
    return f", {median(gaps):,.1f} ms apart ({min(gaps):,.1f} to {max(gaps):,.1f})"


def _verdict(made: Try, console: Console) -> None:
    probe, seen = made.probe, made.probe.seen
    for phases in _phases(probe):
        console.print(safe(phases))
    if made.events:
        console.print(safe(_answer(made)))
        if text := _text(made, console.width):
            console.print(safe(text), no_wrap=True, overflow="ellipsis")
    for what, times in seen.oddities.items():
        console.print(safe(f"odd:    {what}" + (f", {times:,} times" if times > 1 else "")))
    detail = seen.detail or f"the answer is complete, read as {probe.protocol.name}"
    if probe.stopped:
        detail = "you did not wait for the end; this is what came until then"
    console.print(status(seen.outcome, f": {detail}"))


def _phases(probe: Probe) -> list[str]:
    """How long each phase took, and when what came was there."""
    seen = probe.seen
    if not probe.asked:
        return []
    took = []
    before = seen.started_at
    for name, at in (("DNS", seen.resolved_at), ("connect", seen.connected_at), ("TLS", seen.secured_at)):
        if at is not None and before is not None:
            if name != "DNS" or _is_name(probe.site.endpoint.host):
                took.append(f"{name} {(at - before) / 1e6:,.1f} ms")
            before = at
    end = "end" if probe.status is not None else "given up"
    moments = (("headers", seen.headers_at), ("first token", seen.first_content_at), (end, seen.ended_at))
    after = [f"{name} {ms:,.1f} ms" for name, at in moments if (ms := probe.ms(at)) is not None]
    return [*([f"took:   {', '.join(took)}"] if took else []), f"after:  {', '.join(after)}"]


def _is_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def _answer(made: Try) -> str:
    seen = made.probe.seen
    tokens = ((seen.input_tokens, "input token"), (seen.output_tokens, "output token"))
    parts = [f"{some(seen.content_chunks, 'chunk')} of content, {some(seen.characters, 'character')}"]
    parts += [some(count, name) for count, name in tokens if count is not None] or ["no token counts"]
    parts.append(f"stop reason {seen.stop_reason}" if seen.stop_reason else "no stop reason")
    parts += [f"request id {seen.request_id}"] if seen.request_id else []
    return f"answer: {', '.join(parts)}"


def _text(made: Try, width: int) -> str:
    """The beginning of the answer's visible text, by which a person sees whether the right thing was read."""
    joined = "".join(event.text for event in made.events[:_MOST_TEXTS] if "text" in event.what)
    text = line(made.probe.secret.blotted(joined), 2 * width)  # a secret may come in pieces
    return shortened(f'text:   "{text}"', width) if text else ""


def _advice(result: Result, console: Console) -> None:
    helped = result.helped
    advice = result.first.advice
    if helped is not None:  # what was tried and did not help is not worth reading
        advice = [each for each in advice if each.lines == helped.lines]
    for each in advice:
        console.print()
        console.print(safe(each.says))
        _print_lines(each.lines, console)


def _again(result: Result, console: Console, *, every: bool) -> None:
    if not result.again:
        return
    helped, last = result.helped, result.again[-1]
    console.print()
    if result.wavering:
        console.print(safe("Asked again, and this time the answer was complete without a change: the server does not "
                           "always end its answers. A load test will count those that it cuts short."))  # fmt: skip
        return
    if helped is None:
        _in_vain(result, console)
        return
    if helped.lines not in {each.lines for each in result.first.advice}:
        console.print(safe("With these lines it works:"))
        _print_lines(helped.lines, console)
        console.print()
        console.print(safe("Asked again with them:"))
    else:
        console.print(safe("Asked again with these lines in [target] of streamgauge.toml:"))
    if last.events and every:
        console.print(_table(last.events, console.width, every=True))
    _verdict(last, console)
    console.print(safe("Paste the lines into streamgauge.toml, or let --save streamgauge.toml write it."))
    for each in last.advice[:2]:
        console.print(safe(each.says))
        _print_lines(each.lines, console)


def _in_vain(result: Result, console: Console) -> None:
    """What came of the lines that did not help."""
    console.print(safe(f"Asked {_times(len(result.again))} more, with lines that could help; none did:"))
    for made in result.again:
        lines = ", ".join(each for each in made.lines.splitlines() if " = " in each)
        came = f"  {shortened(lines, console.width // 2)}: {made.probe.seen.outcome}, {made.probe.seen.detail}"
        console.print(safe(shortened(came, console.width)), no_wrap=True, overflow="ellipsis")
    best = next((made for made in result.again if made.events), result.again[-1])
    if best.events or best.probe.status not in {result.first.probe.status, 404, 405}:
        console.print()
        _verdict(best, console)
        for each in best.advice[:2]:
            console.print(safe(each.says))
            _print_lines(each.lines, console)


def _times(count: int) -> str:
    return "once" if count == 1 else "twice"


def _print_lines(lines: str, console: Console) -> None:
    if lines:
        console.print()
    for each in lines.splitlines():
        console.print(safe(each), soft_wrap=True, style="bold")
