"""One stream as drawings: a row on an axis that all rows share, and the same at its own scale with its reader's line.

Times are ms since the stream was due. The drawings stretch to the page's width, so they hold no text.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.measure.reader_model import STALL_US
from streamgauge.harness.judge.store import StreamInFull
from streamgauge.harness.record import arrivals
from streamgauge.harness.record.arrivals import KINDS, Kind
from streamgauge.harness.record.observation import Outcome, after_tools

WIDTH = 1_000  # units of every drawing
_MOST_OF_READING = 1.6  # times the stream: reading what came at once may take far longer
_HIGH = 120  # of the drawing with the reader's line
_MARK = 6  # units: how wide a mark is on a narrow page, so that none is cut by the drawing's edge
_TEXT = KINDS.index(Kind.TEXT)


class Band(NamedTuple):
    name: str  # its class in the style sheet
    begins: float
    ends: float


class Wait(NamedTuple):
    begins: float
    ends: float


class End(NamedTuple):
    name: str  # its class in the style sheet
    at: float


class Course(NamedTuple):
    """A stream's content over time, and how a reader follows it."""

    wire: Floats  # ms at which each content chunk arrived
    seen: Floats  # ms at which the person saw it: later on an emulated link
    characters: Floats  # of text in each of them
    bands: list[Band]
    ends: float  # ms
    end: End | None  # of an answer that is not complete
    waits: list[Wait]  # in which the reader had nothing to read, for at least STALL_US
    read: list[tuple[float, float]]  # (ms, characters read) at each corner of the reader's line


def course(stream: StreamInFull, speed: float) -> Course:
    """`speed`: the reader's, in characters a second."""
    events = stream.events
    content = np.flatnonzero(arrivals.is_content(events.kind))
    due = stream.due_at / 1e6
    wire, seen = (at[content] / 1e3 - due for at in (events.at, events.perceived_at))
    text = np.where(events.kind[content] == _TEXT, events.characters[content], 0).astype(np.float64)
    ends = max([0.0, *(value / 1e6 - due for value in stream.moments.values()), *seen[-1:].tolist()])
    end = _end(stream)
    waits, read = _read(seen, text, speed, end.at if end else np.nan)
    tools = [Band("tool", float(seen[place - 1]), float(seen[place])) for place in after_tools(events.kind[content])]
    return Course(wire, seen, text, [*_bands(stream), *tools], ends, end, waits, read)


def _end(stream: StreamInFull) -> End | None:
    if stream.outcome is Outcome.COMPLETED:
        return None
    by = {Outcome.CANCELLED: "left", Outcome.INTERRUPTED: "interrupted"}.get(stream.outcome, "failed")
    return End(by, (stream.moments["ended_at"] - stream.due_at) / 1e6)


def _bands(stream: StreamInFull) -> Iterator[Band]:
    """Our own delay, connecting, waiting for the headers and for the first token, the content, and of an answer that is
    not complete, what its person waited for until it ended."""
    at = {name: (value - stream.due_at) / 1e6 for name, value in stream.moments.items()}
    began = 0.0
    phases = (
        ("late", at.get("started_at")),
        ("connect", at.get("secured_at", at.get("connected_at"))),
        ("sent", at.get("sent_at")),
        ("headers", at.get("headers_at")),
        ("first", at.get("first_content_at")),
        ("streaming", at.get("last_content_at")),
        (_waited_for(stream), None if stream.outcome is Outcome.COMPLETED else at["ended_at"]),
    )
    for name, ended in phases:
        if ended is not None and ended > began:
            yield Band(name, began, ended)
            began = ended


def _waited_for(stream: StreamInFull) -> str:
    """The band in which a stream ended that is not complete."""
    if stream.outcome is Outcome.UNREACHABLE:
        return "connect"
    if "first_content_at" in stream.moments:
        return "rest"
    return "first" if "headers_at" in stream.moments else "headers"


def _read(at: Floats, characters: Floats, speed: float, gone: float) -> tuple[list[Wait], list[tuple[float, float]]]:
    """The reader model for one stream (see `reader_model`): waits, and the corners of the reader's line.

    `gone`: ms at which an answer ended that is not complete, until when its reader waits for the rest; else NaN.
    """
    waits: list[Wait] = []
    corners: list[tuple[float, float]] = []
    free, so_far = -np.inf, 0.0  # when the reader has read all that came
    for arrived, size in zip(at.tolist(), characters.tolist(), strict=True):
        if not size:
            continue
        if arrived > free:
            if corners and (arrived - free) * 1e3 >= STALL_US:
                waits.append(Wait(free, arrived))
            corners += [(arrived, so_far)]
            free = arrived
        free, so_far = free + size / speed * 1e3, so_far + size
        corners.append((free, so_far))
    if corners and (gone - free) * 1e3 >= STALL_US:
        waits.append(Wait(free, gone))
    return waits, corners


def row(shown: Course, width_ms: float) -> Markup:
    """Bands and ticks on an axis of `width_ms`: the upper ticks on the wire, the lower ones as the person saw them."""
    x = WIDTH / width_ms
    return _svg("row", 24, [
        *(_rect(f"band {band.name}", band.begins * x, band.ends * x, 0, 24) for band in shown.bands),
        *(_rect("wait", wait.begins * x, wait.ends * x, 0, 24) for wait in shown.waits),
        _ticks("wire", shown.wire * x, 2, 11),
        _ticks("seen", shown.seen * x, 11, 22),
        _mark(shown.end, x, 24),
    ])  # fmt: skip


def with_reader(shown: Course) -> Markup:
    """At the stream's own scale: what came, what has been read, and the waits in between."""
    ends = reading_ends(shown)
    x, most = WIDTH / ends, max(1.0, float(shown.characters.sum()))
    totals = np.cumsum(shown.characters).tolist()
    steps: list[tuple[float, float]] = []
    for at, before, total in zip(shown.seen.tolist(), [0.0, *totals[:-1]], totals, strict=True):
        steps += [(at, before), (at, total)]
    return _svg("reading", _HIGH + 24, [
        *(_rect("wait", wait.begins * x, wait.ends * x, 0, _HIGH) for wait in shown.waits),
        _line("came", [*steps, (ends, totals[-1] if totals else 0.0)], x, most),
        _line("read", shown.read, x, most),
        *(_rect(f"band {band.name}", band.begins * x, band.ends * x, _HIGH + 4, _HIGH + 24) for band in shown.bands),
        _ticks("seen", shown.seen * x, _HIGH + 6, _HIGH + 22),
        _mark(shown.end, x, _HIGH + 24),
    ])  # fmt: skip


def reading_ends(shown: Course) -> float:
    """The ms at which the drawing of `with_reader` ends: at the reader's end, unless that hides what came."""
    reader = shown.read[-1][0] if shown.read else 0.0
    return max(shown.ends, min(reader, _MOST_OF_READING * shown.ends), 1.0)


def _svg(name: str, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        name, WIDTH, height, Markup("").join(parts)
    )


def _rect(name: str, left: float, right: float, top: int, bottom: int) -> Markup:
    left, right = min(left, WIDTH), min(right, WIDTH)
    return Markup('<rect class="{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
        name, left, top, max(right - left, 0.0), bottom - top
    )


def _mark(end: End | None, x: float, bottom: int) -> Markup:
    """Where an answer ended that is not complete, if the drawing reaches as far."""
    if end is None or end.at * x > WIDTH:
        return Markup("")
    at = min(end.at * x, WIDTH - _MARK / 2)
    return Markup('<path class="end {}" d="M{:.1f} 0V{}"/>').format(end.name, at, bottom)


def _ticks(name: str, x: Floats, top: int, bottom: int) -> Markup:
    """One tick for all chunks that would be in the same column of the drawing."""
    columns = np.unique(np.round(x[(x >= 0) & (x <= WIDTH)]).astype(np.int64))
    path = "".join(f"M{column} {top}V{bottom}" for column in columns.tolist())
    return Markup('<path class="tick {}" d="{}"/>').format(name, path)


def _line(name: str, corners: Sequence[tuple[float, float]], x: float, most: float) -> Markup:
    """At most about two corners for each column of the drawing."""
    every = max(1, len(corners) // (2 * WIDTH))
    kept = [*corners[::every], *corners[-1:]]
    path = "".join(
        f"{'L' if place else 'M'}{at * x:.1f} {_HIGH * (1 - total / most):.1f}"
        for place, (at, total) in enumerate(kept)
    )
    return Markup('<path class="line {}" d="{}"/>').format(name, path)
