"""The result as text for a terminal or a log: the verdict first. The only door to rich.

A status is a word and a sign, never colour alone. Text from outside is shown as text, never as markup.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.compare import two_runs
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.history import History
from streamgauge.harness.judge.compare.same_work import differences
from streamgauge.harness.judge.figures import between_or, change, changes, figure, some
from streamgauge.harness.judge.outputs import cells
from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.store import Accepted, Run
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.verdict.sla import RuleStatus
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import visible

# GitHub obeys a workflow command at the beginning of a line in a log, and a folded text could begin a line with one.
_WORKFLOW_COMMAND = re.compile(r"(:)(?=:[a-z-]+[ :])|(#)(?=#\[)")


def show(found: Judgement | Comparison) -> None:
    """To standard output."""
    if isinstance(found, Judgement):
        render(found)
    else:
        render_comparison(found)


def render(judgement: Judgement, console: Console | None = None) -> None:
    """The whole result of a run; to standard output if no console is given."""
    console = console or Console(highlight=False)
    run = judgement.run
    console.print(_status(judgement.verdict, f": {judgement.reason}"))
    console.print(_text(f"run {run.id} · {run.scenario} against {run.host} · {judgement.seconds:,.0f} s"))
    if judgement.verdicts:
        console.print(_rules(judgement))
        for verdict in judgement.verdicts:
            if verdict.status is not RuleStatus.MET:
                console.print(_text(f"  {STYLES[verdict.status].sign} {verdict.rule}: {verdict.reason}"))
    console.print(_metrics(judgement))
    console.print(_rates(judgement))
    console.print(_text(f"outcomes: {cells.outcomes(judgement) or 'no streams'}"))
    if judgement.coalesced:
        console.print(_text(f"coalesced: {judgement.coalesced:,} gaps under 1 ms are in no itl"))
    if judgement.validity is not Validity.VALID or judgement.reasons:
        console.print(_text(f"validity: {judgement.validity.value}"))
        for reason in judgement.reasons:
            console.print(_text(f"  {reason}"))


def text(judgement: Judgement, width: int = 80) -> str:
    """The same as a string without colour."""
    return _without_colour(lambda console: render(judgement, console), width)


def render_comparison(comparison: Comparison, console: Console | None = None) -> None:
    console = console or Console(highlight=False)
    console.print(_status(comparison.status, f": {comparison.reason}"))
    if comparison.rows:
        table = _table("", "metric", f">{comparison.baseline}", *cells.COMPARED_COLUMNS)
        for row in comparison.rows:
            table.add_row(_status(row.status), _text(row.subject), *cells.of_compared(row))
        console.print(table)
        for row in comparison.rows:
            console.print(_text(f"  {STYLES[row.status].sign} {row.subject}: {row.reason}"))
    before = f"{comparison.baseline}: {some(len(comparison.baseline_runs), 'run')}"
    console.print(_text(f"candidate: {cells.candidate_runs(comparison)}; {before}"))
    for note in comparison.notes:
        console.print(_text(f"  {note}"))


def comparison_text(comparison: Comparison, width: int = 80) -> str:
    return _without_colour(lambda console: render_comparison(comparison, console), width)


def _without_colour(draw: Callable[[Console], None], width: int) -> str:
    console = Console(file=StringIO(), width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        draw(console)
    return captured.get()


def render_two_runs(before: Judgement, after: Judgement, console: Console | None = None) -> None:
    """Two single runs side by side. The intervals know how far streams are apart, but not how far runs are."""
    console = console or Console(highlight=False)
    console.print("not a gate: with one run on each side, a change of the server looks like chance")
    for name, judged in (("before", before), ("now", after)):
        console.print(_text(f"{name}: {judged.run.id}, {judged.validity}, {judged.verdict}"))
    for difference in differences(before.run.fingerprint, after.run.fingerprint):
        console.print(_text(f"  not the same work: {difference}"))
    table = _table("figure", ">before", ">now", ">change", ">95 % interval")
    for each in two_runs.differences(before, after):
        table.add_row(
            each.subject,
            figure(each.before, each.unit),
            figure(each.after, each.unit),
            change(each.change, each.unit),
            changes(each.interval, each.unit),
        )
    console.print(table)


def render_history(history: History, console: Console | None = None) -> None:
    """P95 TTFT by run, oldest first, with the baselines that accepted the run, and the points of change."""
    console = console or Console(highlight=False)
    table = _table("started (UTC)", "commit", ">n", ">p50", ">p95 ttft", ">interval", "accepted", ">change")
    for column in table.columns:
        column.no_wrap = True  # a number that is broken over two lines reads as another number
    table.columns[6].no_wrap, table.columns[6].min_width = False, 8
    for point in history.points:
        table.add_row(
            _text(point.run.started_at[:16].replace("T", " ")),
            _text(point.run.labels.get("commit", "")[:7]),
            f"{point.streams:,}",
            figure(point.p50, "ms"),
            figure(point.p95, "ms"),
            between_or("", point.interval, "ms"),
            _text(", ".join(point.baselines)),
            "" if point.change is None else change(point.change, "ms"),
        )
    console.print(table)
    if history.others:
        console.print(f"left out: {some(history.others, 'run')} of other work; only runs of the same work compare")


def render_runs(runs: Sequence[Run], console: Console | None = None) -> None:
    """The runs of a database, oldest first."""
    table = _table("run", "host", "started (UTC)", "took", "status")
    table.columns[0].no_wrap = True  # other commands ask for the id: it must be possible to copy it
    table.columns[0].overflow = "ignore"
    table.columns[1].overflow = "fold"
    for run in runs:
        took = "–" if run.ended_ns is None else f"{run.ended_ns / 1e9:,.0f} s"
        table.add_row(*map(_text, (run.id, run.host, run.started_at[:19].replace("T", " "), took, run.status)))
    (console or Console(highlight=False)).print(table)


def render_baselines(baselines: Mapping[str, Sequence[Accepted]], console: Console | None = None) -> None:
    table = _table("baseline", ">runs", "newest run", "accepted (UTC)")
    for name, runs in baselines.items():
        table.add_row(*map(_text, (name, f"{len(runs)}", runs[-1].run, runs[-1].at[:19].replace("T", " "))))
    (console or Console(highlight=False)).print(table)


def _rules(judgement: Judgement) -> Table:
    table = _table("", "rule", "where", *cells.RULE_COLUMNS)
    table.columns[1].overflow = table.columns[2].overflow = "fold"  # a rule that is met appears nowhere else
    for verdict in judgement.verdicts:
        table.add_row(
            _status(verdict.status, verdict.status_text.removeprefix(verdict.status)),
            _text(verdict.rule),
            _text(_where(verdict.where)),
            *cells.of_rule(verdict),
        )
    return table


def _metrics(judgement: Judgement) -> Table:
    table = _table(*cells.METRIC_COLUMNS)
    for name, summary in judgement.metrics.items():
        if summary.n or summary.failed:
            table.add_row(name, *cells.of_metric(summary), f"{summary.failed:,}" if summary.failed else "")
    return table


def _rates(judgement: Judgement) -> Table:
    table = _table(*cells.RATE_COLUMNS)
    for name, rate in judgement.rates.items():
        if rate.value is not None:
            table.add_row(name, *cells.of_rate(name, rate))
    return table


def _status(status: str, rest: str = "") -> Text:
    style = STYLES[status]
    return Text.assemble((f"{style.sign} {status.upper()}", f"bold {style.terminal}"), _text(rest))


def _text(foreign: str) -> Text:
    """No markup, no control characters, and nothing that GitHub would obey when it reads the log."""
    return Text(_WORKFLOW_COMMAND.sub("\\g<0>\u200b", visible(foreign)))


def _where(where: Where) -> str:
    given = where.selected().items()
    named = (f"{key.removeprefix('label.')}={value}" if key.startswith("label.") else value for key, value in given)
    return ", ".join(named) or "all"


def _table(*columns: str) -> Table:
    """A column whose name begins with `>` is aligned right."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(_text(column.removeprefix(">")), justify="right" if column.startswith(">") else "left")
    return table
