"""The result of a run, or of a comparison, as text for a terminal or a log: the verdict first."""

from collections.abc import Set

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gated import Gated, Result
from streamgauge.harness.judge.figures import figure, some
from streamgauge.harness.judge.measure.metrics import METRICS
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.outputs import cells
from streamgauge.harness.judge.outputs.rich_text import (
    Console,
    Table,
    console_of,
    safe,
    status,
    table_of,
    without_colour,
)
from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.verdict.findings import line
from streamgauge.harness.judge.verdict.judgement import Judgement, RunVerdict
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.verdict.validity import Validity


def show(result: Result) -> None:
    """To standard output: of a run, the figures that its rules and its reader need."""
    if isinstance(result, Judgement):
        render_brief(result)
    elif isinstance(result, Gated):
        render_gated(result)
    else:
        render_comparison(result)


def show_all(result: Result) -> None:
    """To standard output, with every figure."""
    if isinstance(result, Judgement):
        render(result)
    elif isinstance(result, Gated):
        render_gated(result)
    else:
        render_comparison(result)


def show_line(head: str, judgement: Judgement) -> None:
    """To standard output: one line for one run of several. `head`: which, such as `3 of 10`."""
    console = console_of(None)
    ttft, errors = judgement.metrics["ttft"].quantiles.p95, judgement.rates["error_rate"].value
    figures = f"p95(ttft) {figure(ttft, 'ms')}, error_rate {figure(errors, 'ratio')}"
    console.print(safe(f"{head}:"), status(judgement.verdict), safe(f"{figures} · {judgement.run.id}"), soft_wrap=True)
    if judgement.verdict is not RunVerdict.MET:
        console.print(safe(f"  {judgement.reason}"), soft_wrap=True)


def render(judgement: Judgement, console: Console | None = None) -> None:
    """The whole result of a run; to standard output if no console is given."""
    _render(judgement, console_of(console), set(METRICS) | set(RATES))


def render_brief(judgement: Judgement, console: Console | None = None) -> None:
    """The result of a run with the figures of its rules, and those that a reader needs first."""
    figures = {verdict.figure for verdict in judgement.verdicts}
    figures |= {name for name, rate in RATES.items() if rate.brief}
    figures |= {name for name, metric in METRICS.items() if metric.brief and _differs(judgement, name, metric.like)}
    _render(judgement, console_of(console), figures)


def _differs(judgement: Judgement, name: str, other: str | None) -> bool:
    return other is None or judgement.metrics[name].quantiles != judgement.metrics[other].quantiles


def render_gated(result: Gated, console: Console | None = None) -> None:
    """The worse verdict of rules and gate, the comparison, and the rules of the run that ended worst."""
    console = console_of(console)
    console.print(status(result.status, f": {result.reason}"))
    _render_compared(result.compared, console)
    if result.has_rules:
        console.print(safe(f"run {result.judgement.run.id}:"))
        _render_rules(result.judgement, console)


def gated_text(result: Gated, width: int = 80) -> str:
    return without_colour(lambda console: render_gated(result, console), width)


def _render(judgement: Judgement, console: Console, figures: Set[str]) -> None:
    run = judgement.run
    console.print(status(judgement.verdict, f": {judgement.reason}"))
    console.print(safe(f"run {run.id} · {run.scenario} against {run.host} · {judgement.took:,.0f} s"))
    _render_rules(judgement, console)
    metrics, rates = _metrics(judgement), _rates(judgement)
    chosen = [[row for row in rows if row[0] in figures] for rows in (metrics, rates)]
    for columns, rows in zip((cells.METRIC_COLUMNS, cells.RATE_COLUMNS), chosen, strict=True):
        if not rows:  # a run without streams
            continue
        table = table_of(*columns)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if more := len(metrics) + len(rates) - sum(map(len, chosen)):
        console.print(f"{some(more, 'more figure')} with --all")
    console.print(safe(f"outcomes: {cells.outcomes(judgement) or 'no streams'}"))
    for failure in cells.failures(judgement):
        console.print(safe(f"  {failure}"))
    if judgement.cost is not None:
        console.print(safe(f"cost: {cells.cost(judgement)}"))
    if judgement.next_step:
        console.print(safe(f"try next: {judgement.next_step}"))
    console.print(f"findings: {line(judgement.findings)}")
    for finding in judgement.findings:
        console.print(safe(f"  {finding.id}: {finding.advice}"))
        console.print(safe(f"    {finding.sentence}"))
    if judgement.coalesced:
        console.print(safe(f"coalesced: {cells.coalesced(judgement)}"))
    if judgement.validity is not Validity.VALID or judgement.reasons:
        console.print(safe(f"validity: {judgement.validity.value}"))
        for reason in judgement.reasons:
            console.print(safe(f"  {reason}"))


def _render_rules(judgement: Judgement, console: Console) -> None:
    if judgement.verdicts:
        console.print(_rules(judgement))
    for verdict in judgement.verdicts:
        if verdict.status is not RuleStatus.MET:
            console.print(safe(f"  {STYLES[verdict.status].sign} {verdict.rule}: {verdict.reason}"))


def text(judgement: Judgement, width: int = 80) -> str:
    """The output of `render` as a string without colour."""
    return without_colour(lambda console: render(judgement, console), width)


def render_comparison(comparison: Comparison, console: Console | None = None) -> None:
    console = console_of(console)
    console.print(status(comparison.status, f": {comparison.reason}"))
    _render_compared(comparison, console)


def _render_compared(comparison: Comparison, console: Console) -> None:
    if comparison.rows:
        table = table_of("", "metric", ">baseline", *cells.COMPARED_COLUMNS)
        for row in comparison.rows:
            table.add_row(status(row.status), safe(row.subject), *cells.of_compared(row))
        console.print(table)
        for row in comparison.rows:
            console.print(safe(f"  {STYLES[row.status].sign} {row.subject}: {row.reason}"))
    before = f"{comparison.baseline}: {some(len(comparison.baseline_runs), 'run')}"
    console.print(safe(f"candidate: {cells.candidate_runs(comparison)}; {before}"))
    for note in comparison.notes:
        console.print(safe(f"  {note}"))


def comparison_text(comparison: Comparison, width: int = 80) -> str:
    return without_colour(lambda console: render_comparison(comparison, console), width)


def _rules(judgement: Judgement) -> Table:
    table = table_of("", "rule", "where", *cells.RULE_COLUMNS)
    table.columns[1].overflow = table.columns[2].overflow = "fold"  # a rule that is met appears nowhere else
    for verdict in judgement.verdicts:
        table.add_row(
            status(verdict.status, verdict.status_text.removeprefix(verdict.status)),
            safe(f"{verdict.rule}{verdict.origin}"),
            safe(_where(verdict.where)),
            *cells.of_rule(verdict),
        )
    return table


def _metrics(judgement: Judgement) -> list[list[str]]:
    """The rows of all metrics that have samples."""
    return [
        [name, *cells.of_metric(summary), f"{summary.failed:,}" if summary.failed else ""]
        for name, summary in judgement.metrics.items()
        if summary.n or summary.failed
    ]


def _rates(judgement: Judgement) -> list[list[str]]:
    """The rows of all rates that have a value."""
    return [[name, *cells.of_rate(name, rate)] for name, rate in judgement.rates.items() if rate.value is not None]


def _where(where: Where) -> str:
    selected = where.selected().items()
    named = (f"{key.removeprefix('label.')}={value}" if key.startswith("label.") else value for key, value in selected)
    return ", ".join(named) or "all"
