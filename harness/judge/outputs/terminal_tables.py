"""Tables for a terminal: two single runs, a history, and the runs and baselines of a database."""

from collections.abc import Mapping, Sequence

from streamgauge.harness.judge.compare import two_runs
from streamgauge.harness.judge.compare.baseline import SERIES
from streamgauge.harness.judge.compare.history import History
from streamgauge.harness.judge.compare.same_work import differences
from streamgauge.harness.judge.figures import between_or, change, changes, figure, money, some
from streamgauge.harness.judge.outputs.rich_text import Console, console_of, safe, table_of
from streamgauge.harness.judge.outputs.styles import STYLES
from streamgauge.harness.judge.store import Accepted, Run
from streamgauge.harness.judge.verdict.judgement import Judgement, RunVerdict


def render_two_runs(before: Judgement, after: Judgement, console: Console | None = None) -> None:
    """Two single runs side by side. The intervals cover the variation between streams, but not between runs."""
    console = console_of(console)
    console.print("not a gate: with one run on each side, a change of the server cannot be told from chance")
    for name, judged in (("before", before), ("now", after)):
        console.print(safe(f"{name}: {judged.run.id}, {judged.validity}, {judged.verdict}"))
    for difference in differences(before.run.fingerprint, after.run.fingerprint):
        console.print(safe(f"  not the same work: {difference}"))
    table = table_of("figure", ">before", ">now", ">change", ">95 % interval")
    for each in two_runs.differences(before, after):
        table.add_row(
            each.subject,
            figure(each.before, each.unit),
            figure(each.after, each.unit),
            change(each.change, each.unit),
            changes(each.interval, each.unit),
        )
    console.print(table)
    for sentence in two_runs.only_on_one_side(before, after):
        console.print(safe(sentence))


def render_history(history: History, console: Console | None = None) -> None:
    """P95 TTFT by run, oldest first, with the baselines that accepted the run, and the change points."""
    console = console_of(console)
    columns = ["started (UTC)", "commit", ">n", ">p50", ">p95 ttft", ">interval", "accepted", ">change"]
    table = table_of(*columns, *([">cost"] if history.priced else []))
    for column in table.columns:
        column.no_wrap = True  # a number that is broken over two lines looks like another number
    table.columns[6].no_wrap, table.columns[6].min_width = False, 8
    for point in history.points:
        table.add_row(
            safe(point.run.started_at[:16].replace("T", " ")),
            safe(point.run.labels.get("commit", "")[:7]),
            f"{point.streams:,}",
            figure(point.p50, "ms"),
            figure(point.p95, "ms"),
            between_or("", point.interval, "ms"),
            safe(", ".join(point.baselines)),
            "" if point.change is None else change(point.change, "ms"),
            *([money(point.cost.total, point.cost.currency) if point.cost else ""] if history.priced else []),
        )
    console.print(table)
    if history.others:
        console.print(f"left out: {some(history.others, 'run')} of other work; only runs of the same work compare")


def render_damaged(damaged: Sequence[str], console: Console | None = None) -> None:
    """The rows that a command left out, since no version of this program wrote them. To standard error."""
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    for sentence in damaged:
        console.print(safe(f"left out: {sentence}"))


def render_runs(
    runs: Sequence[Run],
    verdicts: Mapping[str, RunVerdict] | None = None,
    console: Console | None = None,
    instead: Mapping[str, str] | None = None,
) -> None:
    """The runs of a database, oldest first. `verdicts`: by the run's id; a run without one was not judged.

    `instead`: what is shown in place of a verdict, of runs of another kind: a monitor's, or a search for a capacity.

    Several hosts are numbered above the table: an address in each row would break over two lines.
    """
    console = console_of(console)
    verdicts, instead = verdicts or {}, instead or {}
    hosts = sorted({run.host for run in runs})
    table = table_of("run", "verdict", ">users", ">took", "labels", *([">host"] if len(hosts) > 1 else []))
    table.columns[0].no_wrap = True  # people copy the id for other commands
    table.columns[0].overflow = "ignore"
    table.columns[1].no_wrap = True
    table.columns[4].overflow = "fold"
    for run in runs:
        took = "–" if run.ended_ns is None else f"{run.ended_ns / 1e9:,.0f} s"
        other = instead.get(run.id)  # however it ended: a monitor goes on in another run
        verdict, users = (_judged(run, verdicts), _users(run)) if other is None else (other, "–")
        row = [run.id, verdict, users, took, _labels(run)]
        table.add_row(*map(safe, row), *([str(1 + hosts.index(run.host))] if len(hosts) > 1 else []))
    for number, host in enumerate(hosts, start=1):
        console.print(safe(f"host {number}: {host}" if len(hosts) > 1 else f"host: {host}"))
    console.print(table)


def _judged(run: Run, verdicts: Mapping[str, RunVerdict]) -> str:
    """The verdict, and how the run ended if it did not come to its end."""
    verdict = verdicts.get(run.id)
    said = [] if verdict is None else [f"{STYLES[verdict].sign} {verdict}"]
    return ", ".join([*said, *([] if run.status == "finished" else [run.status])]) or "–"


def _users(run: Run) -> str:
    load = run.fingerprint.get("load")
    users = load.get("users") if isinstance(load, dict) else load
    return "–" if users is None else str(users)


def _labels(run: Run) -> str:
    shown = {name: value[:7] if name == "commit" else value for name, value in run.labels.items() if name != SERIES}
    return ", ".join(f"{name}={value}" for name, value in shown.items())


def render_baselines(baselines: Mapping[str, Sequence[Accepted]], console: Console | None = None) -> None:
    table = table_of("baseline", ">runs", "newest run", "accepted (UTC)")
    for name, runs in baselines.items():
        table.add_row(*map(safe, (name, f"{len(runs)}", runs[-1].run, runs[-1].at[:19].replace("T", " "))))
    console = console_of(console)
    console.print(table)
    for name, runs in baselines.items():
        for accepted in runs:
            if accepted.forced is not None:
                console.print(safe(f"  {accepted.run} was accepted into {name} by --force: {accepted.forced}"))
