"""The status page of a monitor: now, its error budgets, the last day and month, and incidents with their streams."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from operator import itemgetter

import plotly.graph_objects as go

from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.figures import NONE, figure, some, span
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.monitor.burn import DAY, HOUR, Counts
from streamgauge.harness.monitor.incidents import Incident
from streamgauge.harness.monitor.standing import Standing
from streamgauge.harness.monitor.status import DAYS, Budget, Status, when
from streamgauge.harness.record.observation import FAILURES
from streamgauge.reports import trend
from streamgauge.reports.one_by_one import Group
from streamgauge.reports.page import assemble
from streamgauge.reports.panel import Cell, Chart, Fact, Figure, Mark, Panel, Table, label, plot
from streamgauge.reports.panels import streams

_STALE = 600.0  # seconds without probes after which the page says that it does not know how the targets are,
_LATE = 3  # and the time of so many probes on top
_MOST_LINES = 12  # of the chart of budgets
_LOOKS = [(f"line-{colour}", dash) for dash in ("solid", "dash") for colour in range(1, 7)]
_FEWEST_POINTS = 3  # of a line: fewer are dots that nobody sees
_LEFT_NOW = "How much of each error budget is left?"
_MOST_DAMAGED = 3  # rows that are named
_LONGEST = 60  # characters of a name in a table


def render(status: Status) -> str:
    """One self-contained HTML page."""
    panels = [
        _head(status),
        _levels(status),
        *_budgets(status),
        _incidents(status),
        *_streams(status),
        *_days(status),
        *_alerts(status),
    ]
    targets = dict.fromkeys(each.target for each in status.standings)
    return assemble(
        panels,
        ", ".join(targets) or "no target",
        f"a monitor's database, read at {when(status.at)} UTC",
        kind="monitor",
    )


def _head(status: Status) -> Panel:
    state, title, lead = _now(status)
    last_day = status.days[-1] if status.days else None
    left = [each.budget_left for each in status.standings if each.budget_left is not None]
    month = [each for each in status.incidents if each.began > status.at - DAYS * DAY]
    judged = NONE if status.judged_at is None else f"{when(status.judged_at)} UTC"
    return Panel(
        name="now",
        title=title,
        lead=lead,
        status=state,
        facts=(
            Fact("Lowest error budget", _left(min(left, default=None)), "left, of all service levels"),
            Fact("Incidents", f"{len(month):,}", f"in {DAYS} days"),
            Fact("Probes today", f"{sum(last_day.outcomes.values()):,}" if last_day else NONE,
                 some(last_day.tokens, "token") if last_day else ""),
            Fact("Judged", judged),
        ),
    )  # fmt: skip


def _now(status: Status) -> tuple[str, str, str]:
    """The status whose icon is shown, the title, and the sentence below."""
    opened = [each for each in status.incidents if each.ended is None]
    levels = some(len({each.slo for each in status.standings}), "service level")
    if not any(each.ever.total for each in status.standings):
        probes = sum(sum(each.outcomes.values()) for each in status.days)
        if not probes:
            return "inconclusive", "no probe yet", f"{levels} of which nothing is known yet."
        none = f"none of {some(probes, 'probe')} counts in one: each is in a maintenance window, or has no such metric"
        return "inconclusive", "nothing known", f"{levels} of which nothing is known yet: {none}."
    if status.watched_at is None or status.at - status.watched_at > _STALE + _LATE * _every(status):
        target, last = min(status.last_probes.items(), key=itemgetter(1))
        lead = f"{target} has not been probed since {when(last)} UTC, so nothing here says how it is now."
        return "invalid", "not watching", lead
    pages = [each for each in opened if each.main.severity == "page"]
    if opened:
        worst = (pages or opened)[0]
        more = f" Besides it: {some(len(opened) - 1, 'open incident')}." if len(opened) > 1 else ""
        lead = f"{worst.main.summary}. Since {when(worst.began)} UTC.{more}"
        return ("missed" if pages else "degraded"), some(len(opened), "open incident"), lead
    unknown = [each for each in status.standings if not each.in_window.total]
    if unknown:
        lead = f"No incident goes on, but no probe counts in {_named(unknown)}: of that, nothing is known."
        return "inconclusive", "partly unknown", lead
    spent = [each for each in status.standings if _is_spent(each)]
    if spent:
        return "degraded", "budget spent", f"No incident goes on, but more probes were bad than {_named(spent)} allows."
    return "met", "all is well", f"{levels} hold, and no incident goes on."


def _named(standings: Sequence[Standing]) -> str:
    more = f" and {len(standings) - 1:,} more" if len(standings) > 1 else ""
    return f"{standings[0].slo} of {standings[0].target}{more}"


def _is_spent(standing: Standing) -> bool:
    return standing.budget_left is not None and standing.budget_left < 0


def _every(status: Status) -> float:
    """About how many seconds are between two probes of the target that is probed least often."""
    hours = [max(each.lately[HOUR].total, each.lately[DAY].total / 24) for each in status.standings]
    least = min((each for each in hours if each), default=1.0)
    return HOUR / least


def _levels(status: Status) -> Panel:
    rows: list[tuple[Cell, ...]] = [
        (
            f"{shortened(each.slo, _LONGEST)} of {shortened(each.target, _LONGEST)}",
            shortened(each.good, 2 * _LONGEST),
            Mark(_state(each, status.incidents)),
            f"{figure(each.objective, 'ratio')} of {_length(each.window)}",
            _share(each.lately[DAY]),
            _share(each.in_window),
            _left(each.budget_left),
            NONE if each.burn(HOUR) is None else f"{each.burn(HOUR):.1f}",
        )
        for each in status.standings
    ]  # fmt: skip
    columns = ("Service level", "Good is", "Now", ">Objective", ">24 hours", ">Window", ">Budget left", ">Burn rate")
    return Panel(
        name="levels",
        title="Service levels",
        lead="How many probes were good, and how much of each error budget is left? A burn rate of 1 uses it up in "
        "exactly its window; it is that of the last hour.",
        tables=(Table("Good probes, of those that count", columns, rows, cards=True),),
    )


def _state(standing: Standing, incidents: Sequence[Incident]) -> str:
    if not standing.ever.total:
        return "inconclusive"
    opened = [each.main for each in incidents if each.ended is None and each.main.slo == standing.slo]
    mine = [each for each in opened if each.group in {standing.target, "regions"}]
    if any(each.severity == "page" for each in mine):
        return "missed"
    return "degraded" if mine or _is_spent(standing) else "met"


def _share(counts: Counts) -> str:
    return NONE if not counts.total else f"{100 * counts.good / counts.total:.2f} % of {counts.total:,}"


def _left(budget: float | None) -> str:
    return NONE if budget is None else f"{100 * budget:,.0f} %" if abs(budget) >= 1 else figure(budget, "ratio")


def _length(seconds: int) -> str:
    return f"{seconds // DAY} d" if seconds % DAY == 0 else span(seconds)


def _budgets(status: Status) -> Iterator[Panel]:
    shown = [
        (each, course) for each, course in status.budgets[:_MOST_LINES] if any(left is not None for _, left in course)
    ]
    if not shown:
        return
    began = min(next(place for place, (_, left) in enumerate(course) if left is not None) for _, course in shown)
    shown = [(each, course[began:]) for each, course in shown]
    is_course = any(sum(left is not None for _, left in course) >= _FEWEST_POINTS for _, course in shown)
    chart = Chart(
        f"How much of each error budget was left, over {DAYS} days?" if is_course else _LEFT_NOW,
        _courses(shown) if is_course else _bars(shown),
        height=300 if is_course else 90 + 34 * len(shown),
        wide=True,
    )
    rows: list[tuple[Cell, ...]] = [
        (when(at), *(_left(left) for _, left in lefts))
        for (at, _), lefts in zip(shown[0][1], zip(*(course for _, course in shown), strict=True), strict=True)
    ]
    names = (f">{shortened(each.slo, 20)}, {shortened(each.target, 20)}" for each, _ in shown)
    yield Panel(
        name="budgets",
        title="Error budgets",
        lead="Below 0 %, more probes were bad than the objective allows in its window.",
        charts=(chart,),
        tables=(Table("Error budget left", ("UTC", *names), rows),),
    )


def _labelled(each: Standing) -> str:
    return f"{label(each.slo, 20)}, {label(each.target, 20)}"


def _courses(shown: Sequence[tuple[Standing, Budget]]) -> Figure:
    traces = [
        go.Scatter(
            x=[when(at) for at, _ in course],
            y=[None if left is None else round(100 * left, 2) for _, left in course],
            name=_labelled(each),
            mode="lines+markers",
            line={"color": f"var(--{colour})", "width": 2, "dash": dash},
            marker={"size": 4},
            hovertemplate="%{x}: %{y:.1f} % left<extra></extra>",
        )
        for (each, course), (colour, dash) in zip(shown, cycle(_LOOKS), strict=False)
    ]
    return plot(
        traces,
        showlegend=True,
        xaxis={"showgrid": False, "nticks": 8},
        yaxis={"title": {"text": "%"}, "rangemode": "tozero"},
    )


def _bars(shown: Sequence[tuple[Standing, Budget]]) -> Figure:
    """Of a monitor's first hours, in which a line would be a dot or two."""
    lefts = [next(left for _, left in reversed(course) if left is not None) for _, course in shown]
    bars = go.Bar(
        orientation="h",
        x=[100 * left for left in lefts],
        y=[_labelled(each) for each, _ in shown],
        text=[_left(left) for left in lefts],
        textposition="auto",
        marker={"color": ["var(--bad)" if left < 0 else "var(--p50)" for left in lefts]},
        hovertemplate="%{y}: %{text} left<extra></extra>",
    )
    axis = {"title": {"text": "%"}, "rangemode": "tozero"}
    return plot([bars], xaxis=axis, yaxis={"autorange": "reversed", "showgrid": False}, bargap=0.35)


def _days(status: Status) -> Iterator[Panel]:
    if status.days:
        yield trend.by_day([each.day for each in status.days], "probes")
        rows: list[tuple[Cell, ...]] = [
            (
                each.day.date,
                f"{sum(each.outcomes.values()):,}",
                f"{sum(number for outcome, number in each.outcomes.items() if outcome in FAILURES):,}",
                f"{each.tokens:,}",
            )
            for each in status.days
        ]
        yield Panel(
            name="probes",
            title="Probes by day",
            lead="What the monitor asked, and what it cost.",
            tables=(Table("Probes and tokens", ("Day", ">Probes", ">Failed", ">Tokens"), rows),),
        )


def _incidents(status: Status) -> Panel:
    rows: list[tuple[Cell, ...]] = [
        (
            when(each.began),
            "goes on" if each.ended is None else span(each.ended - each.began),
            ", ".join(each.severities),
            each.main.summary,
            _left(each.budget_left),
            ", ".join(str(seen.stream) for seen in each.worst) or NONE,
        )
        for each in status.incidents
    ]
    columns = ("Began, UTC", ">Lasted", "Severity", "What", ">Budget left", "Worst streams")
    lead = f"{some(len(rows), 'incident')}, the newest first." if rows else "No incident so far."
    lead = " ".join([lead, *(f"{sentence}." for sentence in status.damaged[:_MOST_DAMAGED])])
    return Panel(
        name="incidents",
        title="Incidents",
        lead=lead,
        tables=(Table("When, how long, and what", columns, rows, cards=True),) if rows else (),
    )


def _streams(status: Status) -> Iterator[Panel]:
    """The streams behind the incidents, drawn as in a report."""
    groups: list[Group] = []
    for each in status.incidents:
        found = [status.streams[seen.stream] for seen in each.worst if seen.stream in status.streams]
        found.sort(key=lambda stream: "first_content_at" not in stream.moments)  # the replay needs content
        # Service levels that break together have the same streams.
        if found and not (groups and [stream.id for stream in found] == [stream.id for stream in groups[-1].streams]):
            name = f"{each.main.slo} of {each.main.target}, {when(each.began)} UTC"
            groups.append(Group(shortened(name, 2 * _LONGEST), found, replayed=len(groups) < 2))
    if groups:
        number = len({stream.id for group in groups for stream in group.streams})
        lead = f"Where did the time go? {some(number, 'stream')} behind incidents, a line each."
        yield streams.panel(groups, Reader().characters_per_second, lead)


def _alerts(status: Status) -> Iterator[Panel]:
    if status.deliveries:
        rows: list[tuple[Cell, ...]] = [
            (
                each.receiver,
                *(f"{each.states.get(state, 0):,}" for state in ("delivered", "repeating", "waiting", "given_up")),
                each.fault or NONE,
            )
            for each in status.deliveries
        ]
        columns = ("Receiver", ">Delivered", ">Firing, sent again", ">Waiting", ">Given up", "Why the last one failed")
        yield Panel(
            name="alerts",
            title="Alerts",
            lead="What became of them, by receiver.",
            tables=(Table("Alerts by receiver", columns, rows),),
        )
