"""What a search found, as files and for CI: JSON, Markdown, JUnit, text, and GitHub's summary and annotations."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec

from streamgauge.harness.capacity import sentences
from streamgauge.harness.capacity.found import Found, Level, exit_code
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.errors import OutputError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.outputs import github, junit, lines, markdown, save, write_each
from streamgauge.harness.judge.outputs.junit import Case
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.wording import escaped_json

_STATUS: Mapping[int, str] = {Exit.MET: "met", Exit.MISSED: "missed", Exit.INCONCLUSIVE: "inconclusive"}
_RESULTS: Mapping[int, str | None] = {Exit.MET: None, Exit.MISSED: "failure", Exit.INCONCLUSIVE: "skipped"}
COLUMNS = ("", ">load", ">streams", ">bad", ">p95 TTFT", ">p95 ITL", ">answers/s", ">errors", "why")
_SIGNS = {"passed": "✓ passed", "missed": "✗ missed", "undecided": "? undecided"}


def as_json(found: Found) -> str:
    return escaped_json(msgspec.json.format(msgspec.json.encode(found), indent=2).decode()) + "\n"


def as_text(found: Found) -> str:
    return "".join(f"{line}\n" for line in [*sentences.answer(found), sentences.cost(found)])


def as_markdown(found: Found, most_bytes: int = markdown.MOST_BYTES) -> str:
    return markdown.bounded(_markdown(found), most_bytes)


def _markdown(found: Found) -> Iterator[str]:
    first, *rest = sentences.answer(found)
    yield f"## {STYLES[status(found)].sign} {markdown.text(first)}"
    for sentence in rest:
        yield ""
        yield markdown.text(sentence)
    yield ""
    yield f"{markdown.code(found.scenario)} against {markdown.code(found.host)}, run {markdown.code(found.run)}: " + (
        markdown.text(sentences.cost(found))
    )
    if found.levels:
        yield ""
        yield from markdown.table(*COLUMNS)
        for level in found.levels:
            yield markdown.row(*map(markdown.text, cells(level, found.unit)))


def cells(level: Level, unit: Unit) -> list[str]:
    """COLUMNS, as plain text."""
    return [
        _SIGNS[level.verdict],
        unit.plain(level.users),
        f"{level.streams:,}",
        figure(level.bad / level.streams, "ratio") if level.streams else "–",
        figure(level.ttft_p95, "ms"),
        figure(level.itl_p95, "ms"),
        figure(level.completions, "streams/s").removesuffix(" streams/s"),
        figure(level.error_rate, "ratio"),
        why(level),
    ]


def why(level: Level) -> str:
    """What spoilt a level: the load generator, or the rules that were not kept; "" if nothing did."""
    broken = (f"{rule.figure} {sentences.observed(rule)}" for rule in level.rules if not rule.kept)
    return (level.generator or "").partition(";")[0] or ", ".join(broken)


def as_junit(found: Found) -> str:
    """One case: a search has one answer."""
    first, *rest = sentences.answer(found)
    told = {
        "run": found.run,
        "host": found.host,
        "unit": found.unit.value,
        "proven": "" if found.proven is None else str(found.proven),
        "knee": "" if found.knee is None else f"{found.knee.at:g}",
        "gave_way": found.gave_way or "",
        "rule": found.rule or "",
    }
    name = "capacity" if found.at_least is None else f"at least {found.unit.amount(found.at_least)}"
    case = Case(
        name,
        _RESULTS[exit_code(found)],
        first,
        {key: text for key, text in told.items() if text},
        " ".join([first, *rest]),
    )
    return junit.document(found.scenario, [case], datetime.now(UTC).isoformat(), found.seconds)


def brief(found: Found) -> str:
    """A few words for a list of runs: `✓ holds 84 users`, `? holds 12.5/s`."""
    unit = "/s" if found.unit is Unit.RATE else " users"
    proven = "an unknown load" if found.proven is None else f"{found.unit.plain(found.proven)}{unit}"
    return f"{STYLES[status(found)].sign} holds {proven}"


def status(found: Found) -> str:
    """A word of STYLES."""
    return _STATUS[exit_code(found)]


FORMATS: Mapping[str, Callable[[Found], str]] = {
    "json": as_json,
    "junit": as_junit,
    "markdown": as_markdown,
    "text": as_text,
}


def check(outputs: Iterable[Output]) -> None:
    """OutputError for a kind that a search does not have."""
    for output in outputs:
        if output.path is not None and output.kind not in FORMATS:
            raise OutputError(f"--output {output.kind}: capacity writes {', '.join(FORMATS)} and github")


def write(found: Found, outputs: Sequence[Output], more: Iterable[Callable[[], None]]) -> None:
    """Write each output, and call `more`, even if one fails; StoreError if one did."""
    write_each([*(partial(_write, found, output) for output in outputs), *more])


def _write(found: Found, output: Output) -> None:
    if output.path is None:
        code = exit_code(found)
        level = "error" if code is Exit.MISSED else "warning"
        told = (
            []
            if code is Exit.MET
            else [github.command(level, f"capacity: {status(found)}", sentences.answer(found)[0])]
        )
        github.tell(told, partial(as_markdown, found))
    elif output.path == "-":
        lines.document(FORMATS[output.kind](found))
    else:
        save(FORMATS[output.kind](found), output.path)
