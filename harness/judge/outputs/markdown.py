"""The result as Markdown (GitHub's and GitLab's), the verdict first: for a step summary or a comment.

What came from outside is shown as text: it makes no markup, no link, and mentions nobody.
"""

import re
from collections.abc import Iterable, Iterator

from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.figures import between, change, changes, figure, some
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.outputs.terminal import SIGNS
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import shortened, visible, words

MOST_BYTES = 900_000  # GitHub refuses a step summary above 1 MiB
_MOST_CHARACTERS = 400  # of one cell
_ORDER = [RuleStatus.MISSED, RuleStatus.INCONCLUSIVE, RuleStatus.MET]
_SYNTAX = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&:$=])")


def render(judgement: Judgement, most_bytes: int = MOST_BYTES) -> str:
    """At most so many bytes of UTF-8: what comes last is left out, and that is said."""
    return _bounded(_lines(judgement), most_bytes)


def comparison(found: Comparison, most_bytes: int = MOST_BYTES) -> str:
    return _bounded(_compared(found), most_bytes)


def _bounded(given: Iterable[str], most_bytes: int) -> str:
    lines: list[str] = []
    size = 0
    left_out = "\n… the rest is left out: it would be too long here.\n"
    room = most_bytes - len(left_out.encode())
    for line in given:
        size += len(line.encode()) + 1
        if size > room:
            return "\n".join(lines) + left_out
        lines.append(line)
    return "\n".join(lines) + "\n"


def _lines(judgement: Judgement) -> Iterator[str]:
    run, verdict = judgement.run, judgement.verdict
    yield f"## {SIGNS[verdict]} {verdict.upper()}: {_text(judgement.reason)}"
    yield ""
    yield f"{_code(run.scenario)} against {_code(run.host)}, {judgement.seconds:,.0f} s, run {_code(run.id)}"
    if judgement.validity is not Validity.VALID or judgement.reasons:
        yield ""
        yield f"Measurement: {judgement.validity.value}"
        yield ""
        yield from (f"- {_text(reason)}" for reason in judgement.reasons)
    if judgement.verdicts:
        yield ""
        yield from _table("", "rule", "streams", ">observed", ">95 % interval", ">n", "why")
        for one in sorted(judgement.verdicts, key=lambda each: _ORDER.index(each.status)):
            yield _row(
                f"{SIGNS[one.status]} {one.status_text}",
                _code(one.rule),
                _text(words(one.where)),
                figure(one.observed, one.unit),
                _interval(Interval(one.low, one.high), one.unit),
                f"{one.n:,}",
                _text(one.reason),
            )
    yield ""
    yield from _table("metric", ">p50", ">p95", ">p99", ">p95 interval", ">n", ">failed")
    for name, summary in judgement.metrics.items():
        if summary.n or summary.failed:
            quantiles = (figure(value, METRICS[name].unit) for value in summary.quantiles.values())
            interval = _interval(summary.intervals["p95"], summary.unit)
            yield _row(f"`{name}`", *quantiles, interval, f"{summary.n:,}", f"{summary.failed:,}")
    yield ""
    yield from _table("rate", ">value", ">n")
    for name, rate in judgement.rates.items():
        if rate.value is not None:
            yield _row(f"`{name}`", figure(rate.value, RATES[name].unit), f"{rate.n:,}")
    yield ""
    outcomes = (f"{count:,} {name}" for name, count in judgement.totals.outcomes.items())
    yield f"Streams: {', '.join(outcomes) or 'none'}"


def _compared(found: Comparison) -> Iterator[str]:
    yield f"## {SIGNS[found.status]} {found.status.upper()}: {_text(found.reason)}"
    yield ""
    if found.rows:
        yield from _table("", "metric", f">{_text(found.baseline)}", ">now", ">change", ">95 % interval", "why")
        for row in found.rows:
            yield _row(
                f"{SIGNS[row.status]} {row.status}",
                _code(row.subject),
                figure(row.baseline, row.unit),
                figure(row.candidate, row.unit),
                "–" if row.change is None else change(row.change, row.unit),
                changes(row.interval, row.unit),
                _text(row.reason),
            )
        yield ""
    fresh = f" and {len(found.fresh_runs)} fresh" if found.fresh_runs else ""
    runs = f"{some(len(found.first_runs), 'run')}{fresh}"
    yield f"{runs} against {len(found.baseline_runs)} of {_code(found.baseline)}"
    yield from (f"\n- {_text(note)}" for note in found.notes)


def _table(*columns: str) -> Iterable[str]:
    """A column whose name begins with `>` is aligned right."""
    yield _row(*(column.removeprefix(">") for column in columns))
    yield _row(*("---:" if column.startswith(">") else "---" for column in columns))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _interval(interval: Interval, unit: str) -> str:
    return "" if interval == (None, None) else between(interval, unit)


def _text(foreign: str) -> str:
    """Every ASCII sign that could begin markup behind a backslash; a space without width after @ ends a mention."""
    return _SYNTAX.sub(r"\\\1", visible(shortened(foreign, _MOST_CHARACTERS))).replace("@", "@\u200b")


def _code(foreign: str) -> str:
    """As a span of code, within more backticks than it has; a table wants its | behind a backslash even there."""
    inside = visible(shortened(foreign, _MOST_CHARACTERS)).replace("|", r"\|")
    fence = "`" * (max(map(len, re.findall("`+", inside)), default=0) + 1)
    return f"{fence} {inside} {fence}" if "`" in inside else f"`{inside or ' '}`"
