"""Single streams: a row each on one axis, their details behind it, and a replay of typical ones."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from streamgauge.harness.judge.figures import NONE, figure, some
from streamgauge.harness.judge.store import StreamInFull
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.record.observation import Outcome
from streamgauge.reports import html, stream_svg
from streamgauge.reports.material import Material
from streamgauge.reports.one_by_one import Group
from streamgauge.reports.panel import Cell, Panel, Table
from streamgauge.reports.stream_svg import Course

MOST_REPLAYED = 2_000  # chunks of one stream
_MOST_LABELS, _LONGEST_LABEL = 30, 200  # of one stream, and characters: labels may be anything
_LONGEST_WORD = 40  # characters, in the line of a stream
_LONGEST = 4  # an axis that is this many times as long as the usual stream would hide all but the longest


def draw(run: Material) -> Panel | None:
    if not run.streams:
        return None
    own = len({stream.id for group in run.streams if not group.of_baseline for stream in group.streams})
    lead = f"Where did the time go? {own:,} of {some(run.judgement.totals.streams, 'stream')}, a line each."
    return panel(run.streams, run.judgement.reader.characters_per_second, lead)


def panel(drawn: Sequence[Group], speed: float, lead: str) -> Panel:
    """At least one group, none of them empty. `speed`: the reader's, in characters a second."""
    courses = {stream.id: stream_svg.course(stream, speed) for group in drawn for stream in group.streams}
    width = _width([course.ends for course in courses.values()])
    shown_before: set[int] = set()
    groups = []
    for group in drawn:
        groups.append(
            (
                group.name,
                [
                    _row(group, each, courses[each.id], width) | {"again": each.id in shown_before}
                    for each in group.streams
                ],
            )
        )
        shown_before |= {each.id for each in group.streams}
    body = html.template("streams.html.jinja").render(
        groups=groups,
        width=figure(width, "ms"),
        lanes=[
            (group.name, group.streams[0].id)
            for group in drawn
            if group.replayed and _can_play(courses[group.streams[0].id])
        ],
        times=html.inert_json({str(stream): _times(course) for stream, course in courses.items() if _can_play(course)}),
        speed=f"{speed:g}",
    )
    return Panel(
        name="streams",
        title="Streams one by one",
        lead=lead,
        body=Markup(body),  # noqa: S704 - of our own template, which escapes
        script="streams.js",
        tables=(_table(drawn),),
    )


def _can_play(course: Course) -> bool:
    return bool(len(course.seen))


def _width(ends: list[float]) -> float:
    """The ms that all rows share: up to the longest, unless it is far longer than the usual one."""
    return max(1.0, min(max(ends), _LONGEST * float(np.quantile(ends, 0.75))))


def _row(group: Group, stream: StreamInFull, course: Course, width: float) -> dict[str, object]:
    """All of a row but `again`: whether the stream is in a group above, which has its anchor."""
    return {
        "id": stream.id,
        "chosen_by": f"waited {_waited(stream, course)}" if group.by_wait else _after(stream, "first_content_at"),
        "who": ", ".join(shortened(stream.words[name], _LONGEST_WORD) for name in ("user", "network")),
        "outcome": _outcome(stream, course, width),
        "picture": stream_svg.row(course, width),
        "reading": stream_svg.with_reader(course) if _can_play(course) else "",
        "ends": figure(stream_svg.reading_ends(course), "ms"),
        "facts": _facts(stream, course),
        "detail": stream.detail,
        "playable": _can_play(course),
    }


def _outcome(stream: StreamInFull, course: Course, width: float) -> str:
    """`reset at 4.1 s`; of a complete answer, when it ended only if that is beyond the axis of so many ms."""
    outcome = stream.outcome.value.replace("_", " ")
    at = course.end.at if course.end else course.ends if course.ends > width else None
    return outcome if at is None else f"{outcome} at {figure(at, 'ms')}"


def _waited(stream: StreamInFull, course: Course) -> str:
    """How long at once in mid-answer; of a stream without content, until its end."""
    if "first_content_at" not in stream.moments:
        return _after(stream, "ended_at")
    return figure(max((wait.ends - wait.begins for wait in course.waits), default=0.0), "ms")


def _after(stream: StreamInFull, moment: str) -> str:
    at = stream.moments.get(moment)
    return NONE if at is None else figure((at - stream.due_at) / 1e6, "ms")


def _facts(stream: StreamInFull, course: Course) -> list[tuple[str, str]]:
    number, shown = stream.numbers, list(stream.labels.items())[:_MOST_LABELS]
    more = len(stream.labels) - len(shown)
    facts = [
        ("Due", f"{stream.due_at / 1e9:,.3f} s after the run began"),
        (
            "Connected",
            _after(stream, "secured_at") if "secured_at" in stream.moments else _after(stream, "connected_at"),
        ),
        ("Headers", _after(stream, "headers_at")),
        ("First token", _after(stream, "first_content_at")),
        ("Last content", _after(stream, "last_content_at")),
        ("End", _after(stream, "ended_at")),
        ("Chunks", f"{len(course.seen):,}"),
        ("Characters", f"{number['characters']:,}" if "characters" in number else NONE),
        ("Output tokens", _output_tokens(stream)),
        ("Input tokens", f"{number['input_tokens']:,}" if "input_tokens" in number else "not told"),
        ("HTTP status", f"{number['http_status']}" if "http_status" in number else NONE),
        *([("Asked to wait", figure(number["retry_after"] / 1e6, "ms"))] if "retry_after" in number else []),
        ("Stop reason", stream.stop_reason or NONE),
        ("Behaviour", stream.words["behaviour"]),
        ("Client", stream.words["client"]),
        ("Worker", stream.words["worker"]),
        ("Request id", stream.request_id or NONE),
        ("Server", ", ".join(filter(None, (stream.replica, stream.address))) or NONE),
    ]
    labels = [(f"Label {shortened(name, _LONGEST_LABEL)}", shortened(value, _LONGEST_LABEL)) for name, value in shown]
    return [*facts, *labels, *([("More labels", f"{more:,}")] if more > 0 else [])]


def _output_tokens(stream: StreamInFull) -> str:
    tokens = stream.numbers.get("output_tokens")
    if tokens is None:
        return "not told"
    return f"{tokens:,}" if stream.outcome is Outcome.COMPLETED else f"{tokens:,}, as far as told before it broke off"


def _times(course: Course) -> dict[str, list[int]]:
    """For the replay: when each chunk was seen, ms, and how many characters it had; neighbours joined if too many."""
    parts = np.array_split(np.arange(len(course.seen)), min(len(course.seen), MOST_REPLAYED))
    return {
        "at": [round(float(course.seen[part[0]])) for part in parts],
        "characters": [int(course.characters[part].sum()) for part in parts],
    }


def _table(drawn: Sequence[Group]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (
            group.name,
            f"{stream.id}",
            stream.words["user"],
            stream.words["network"],
            stream.outcome.value.replace("_", " "),
            _after(stream, "first_content_at"),
            _after(stream, "ended_at"),
            stream.detail,
        )
        for group in drawn
        for stream in group.streams
    ]
    columns = ("Shown as", ">Stream", "User class", "Network", "Outcome", ">TTFT", ">End", "Detail")
    return Table("The streams above", columns, rows, sortable=True)
