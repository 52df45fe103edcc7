"""The result as Markdown (GitHub's and GitLab's), the verdict first: for a step summary or a comment.

Text from outside is escaped: it cannot make markup or a link, or mention an account.
"""

import re
from collections.abc import Iterable, Iterator

from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.outputs import cells
from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.verdict import findings
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import WORST_FIRST
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import shortened, visible, words

MOST_BYTES = 900_000  # GitHub refuses a step summary above 1 MiB
_MOST_CHARACTERS = 400  # of one cell
_SYNTAX = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&:$=])")


def render(judgement: Judgement, most_bytes: int = MOST_BYTES) -> str:
    """At most `most_bytes` of UTF-8. A longer text is cut at the end of a line, and a remark says so."""
    return bounded(_of_run(judgement), most_bytes)


def comparison(compared: Comparison, most_bytes: int = MOST_BYTES) -> str:
    return bounded(_of_comparison(compared), most_bytes)


def gated(result: Gated, most_bytes: int = MOST_BYTES) -> str:
    return bounded(_of_both(result), most_bytes)


def bounded(all_lines: Iterable[str], most_bytes: int = MOST_BYTES) -> str:
    lines: list[str] = []
    size = 0
    left_out = "\n… the rest is left out: it would be too long here.\n"
    room = most_bytes - len(left_out.encode())
    for line in all_lines:
        size += len(line.encode()) + 1
        if size > room:
            return "\n".join(lines) + left_out
        lines.append(line)
    return "\n".join(lines) + "\n"


def _of_run(judgement: Judgement) -> Iterator[str]:
    yield heading(judgement.verdict, judgement.reason)
    yield from _belowheading(judgement)


def _of_both(result: Gated) -> Iterator[str]:
    yield heading(result.status, result.reason)
    yield from _compared(result.compared)
    yield from _belowheading(result.judgement)


def _belowheading(judgement: Judgement) -> Iterator[str]:
    run = judgement.run
    yield ""
    yield f"{code(run.scenario)} against {code(run.host)}, {judgement.took:,.0f} s, run {code(run.id)}"
    if judgement.validity is not Validity.VALID or judgement.reasons:
        yield ""
        yield f"Measurement: {judgement.validity.value}"
        yield ""
        yield from (f"- {text(reason)}" for reason in judgement.reasons)
    if judgement.verdicts:
        yield ""
        yield from _rules(judgement)
    yield ""
    yield from table(*cells.METRIC_COLUMNS)
    for name, summary in judgement.metrics.items():
        if summary.n or summary.failed:
            yield row(f"`{name}`", *cells.of_metric(summary), f"{summary.failed:,}")
    yield ""
    yield from table(*cells.RATE_COLUMNS)
    for name, rate in judgement.rates.items():
        if rate.value is not None:
            yield row(f"`{name}`", *cells.of_rate(name, rate))
    yield ""
    yield f"Streams: {cells.outcomes(judgement) or 'none'}"
    if judgement.failures:
        yield ""
        yield "Why streams failed:"
        yield ""
        yield from (f"- {text(failure)}" for failure in cells.failures(judgement))
    if judgement.cost is not None:
        yield ""
        yield f"Cost: {text(cells.cost(judgement))}"
    yield ""
    yield from _findings(judgement)
    if judgement.coalesced:
        yield ""
        yield f"Coalesced: {cells.coalesced(judgement)}"


def _findings(judgement: Judgement) -> Iterator[str]:
    if judgement.next_step:
        yield f"Try next: {text(judgement.next_step)}."
        yield ""
    yield f"Findings: {findings.line(judgement.findings)}"
    for finding in judgement.findings:
        yield ""
        yield f"- {code(finding.id)} ({finding.certainty}): {text(finding.advice)}. {text(finding.sentence)}."
        yield f"  {text(finding.numbers)}. {text(finding.meaning)}."
        yield f"  To change: {text(finding.change)}. <{finding.source}>"


def _rules(judgement: Judgement) -> Iterator[str]:
    """The worst first."""
    yield from table("", "rule", "streams", *cells.RULE_COLUMNS, "why")
    for verdict in sorted(judgement.verdicts, key=lambda each: WORST_FIRST.index(each.status)):
        yield row(
            f"{STYLES[verdict.status].sign} {verdict.status_text}",
            f"{code(verdict.rule)}{text(verdict.origin)}",
            text(words(verdict.where)),
            *cells.of_rule(verdict),
            text(verdict.reason),
        )


def _of_comparison(compared: Comparison) -> Iterator[str]:
    yield heading(compared.status, compared.reason)
    yield from _compared(compared)


def _compared(compared: Comparison) -> Iterator[str]:
    yield ""
    if compared.rows:
        yield from table("", "metric", ">baseline", *cells.COMPARED_COLUMNS, "why")
        for each in compared.rows:
            status = f"{STYLES[each.status].sign} {each.status}"
            yield row(status, code(each.subject), *cells.of_compared(each), text(each.reason))
        yield ""
    yield f"{cells.candidate_runs(compared)} against {len(compared.baseline_runs)} of {code(compared.baseline)}"
    yield from (f"\n- {text(note)}" for note in compared.notes)


def heading(status: str, reason: str) -> str:
    return f"## {STYLES[status].sign} {status.upper()}: {text(reason)}"


def table(*columns: str) -> Iterable[str]:
    """A column whose name begins with `>` is aligned right."""
    yield row(*(column.removeprefix(">") for column in columns))
    yield row(*("---:" if column.startswith(">") else "---" for column in columns))


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def text(untrusted: str) -> str:
    """Escaped: a backslash before each ASCII sign that could begin markup, a zero-width space after @ of a mention."""
    return _SYNTAX.sub(r"\\\1", visible(shortened(untrusted, _MOST_CHARACTERS))).replace("@", "@\u200b")


def code(untrusted: str) -> str:
    """As a code span, fenced by more backticks than it contains; in a table, | needs a backslash even in code."""
    inside = visible(shortened(untrusted, _MOST_CHARACTERS)).replace("|", r"\|")
    fence = "`" * (max(map(len, re.findall("`+", inside)), default=0) + 1)
    return f"{fence} {inside} {fence}" if "`" in inside else f"`{inside or ' '}`"
