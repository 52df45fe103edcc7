"""Outcomes of the streams: rates with their denominators, and the messages of failures."""

import plotly.graph_objects as go

from streamgauge.harness.judge.figures import NONE, figure, some
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.measure.statistics import ratio_interval
from streamgauge.harness.judge.measure.totals import Totals
from streamgauge.harness.judge.wording import shortened
from streamgauge.harness.record.observation import FAILURES, Outcome
from streamgauge.reports import facts
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Chart, Panel, Table, interval_of, plot, whole_steps

_MEANINGS = {
    Outcome.COMPLETED: "the whole answer came, with its terminal event",
    Outcome.TRUNCATED: "ended cleanly, but without its terminal event",
    Outcome.SERVER_ERROR: "an error event inside an answer with HTTP status 200",
    Outcome.REFUSED: "an HTTP status other than 2xx, or a question that the server would not answer",
    Outcome.UNREACHABLE: "no connection: DNS, TCP or TLS",
    Outcome.RESET: "the connection broke before the answer’s end",
    Outcome.TIMED_OUT: "waited too long: to connect, for the first token, between reads, or in all",
    Outcome.EMPTY: "ended as it should, and brought nothing, or only blanks",
    Outcome.MALFORMED: "not the protocol, or past a limit",
    Outcome.CANCELLED: "the simulated person left, as the scenario intended: no failure",
    Outcome.INTERRUPTED: "the run ended first: no failure, and in no share and no rate",
}
_SHARES = ("error_rate", "completion_rate")

_MOST_FAILURES = 12


def draw(run: Material) -> Panel:
    totals = run.judgement.totals
    failed = totals.count(*FAILURES)
    return Panel(
        name="outcomes",
        title="Errors and completion",
        lead=facts.counted(totals) or "No stream began.",
        charts=(_chart(run),) if totals.streams else (),
        tables=tuple(
            table
            for table in (_rates(run), _outcomes(run), _failures(run, failed), _parts(run))
            if table.rows
        ),
        notes=(
            "A stream that ends without its terminal event and an error inside a 200 are failures. "
            "A person who leaves on purpose is neither an error nor a completion.",
            *_denominators(totals),
            *_partly_told(totals),
        ),
    )  # fmt: skip


def _denominators(totals: Totals) -> list[str]:
    """What the shares of this panel are of, where the completion rate is of others than the outcomes."""
    running, left = totals.count(Outcome.INTERRUPTED), totals.count(Outcome.CANCELLED)
    if not totals.ended or not (running or left):
        return []
    without = f", without the {running:,} still running when the run did" if running else ""
    shares = f"Shares of outcomes and the error rate are of the {some(totals.ended, 'stream')} that ended{without}"
    stayed = f"; the completion rate is of the {totals.ended - left:,} of them whose person stayed" if left else ""
    return [f"{shares}{stayed}."]


def _partly_told(totals: Totals) -> list[str]:
    broken_off = int(totals.sum("reported_in_part"))
    if not broken_off:
        return []
    told = f"Output tps counts {some(broken_off, 'stream')} that did not complete"
    return [f"{told} with what the server had reported by then: often one token, and less than what came."]


def _colour(outcome: str) -> str:
    if outcome in FAILURES:
        return "var(--bad)"
    return "var(--good)" if outcome == Outcome.COMPLETED else "var(--neutral)"


def _chart(run: Material) -> Chart:
    totals = run.judgement.totals
    outcomes = list(totals.outcomes)
    counts = list(totals.outcomes.values())
    bar = go.Bar(
        orientation="h",
        x=counts,
        y=[_name(outcome) for outcome in outcomes],
        marker={"color": [_colour(outcome) for outcome in outcomes]},
        text=[_counted(totals, outcome) for outcome in outcomes],
        textposition="auto",
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    return Chart(
        "How did the streams end?",
        plot(
            [bar],
            xaxis={"title": {"text": "streams"}, "range": [0, max(counts) * 1.02], "dtick": whole_steps(max(counts))},
            yaxis={"autorange": "reversed", "showgrid": False},
            bargap=0.35,
            showlegend=False,
        ),
        height=90 + 34 * len(outcomes),
        wide=True,
    )


def _counted(totals: Totals, outcome: str) -> str:
    """`86 (16.3 %)`; without the share for streams that the run's end cut off, which are in no rate either."""
    share = _share(totals, outcome)
    return f"{totals.outcomes[outcome]:,}{'' if share == NONE else f' ({share})'}"


def _share(totals: Totals, outcome: str) -> str:
    known = totals.ended and outcome != Outcome.INTERRUPTED
    return figure(totals.outcomes[outcome] / totals.ended, "ratio") if known else NONE


def _name(outcome: str) -> str:
    return outcome.replace("_", " ")


def _rates(run: Material) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, rate in run.judgement.rates.items():
        if rate.value is None:
            continue
        is_share = rate.hits is not None
        rows.append(
            (
                _name(name),
                figure(rate.value, RATES[name].unit),
                interval_of(ratio_interval(rate.hits, rate.n), "ratio") if rate.hits is not None else NONE,
                f"{rate.hits:,} / {rate.n:,}" if is_share else f"{rate.n:,}",
                RATES[name].definition,
            )
        )
    return Table("Rates", ("Rate", ">Value", ">95 % interval", ">Streams", "Definition"), rows)


def _outcomes(run: Material) -> Table:
    totals = run.judgement.totals
    rows: list[tuple[Cell, ...]] = [
        (_name(outcome), f"{count:,}", _share(totals, outcome), _MEANINGS[Outcome(outcome)])
        for outcome, count in totals.outcomes.items()
    ]
    return Table("Outcomes", ("Outcome", ">Streams", ">Of those that ended", "Meaning"), rows)


def _failures(run: Material, failed: int) -> Table:
    failures = run.judgement.failures[:_MOST_FAILURES]
    rows: list[tuple[Cell, ...]] = [
        (
            _name(failure.outcome),
            NONE if failure.http_status is None else f"{failure.http_status}",
            f"{failure.n:,}",
            shortened(failure.detail, 240) or NONE,
        )
        for failure in failures
    ]
    listed = sum(failure.n for failure in failures)
    rest = f": the {_MOST_FAILURES} most frequent, {listed:,} of {failed:,}" if listed < failed else ""
    return Table(f"What failed{rest}", ("Outcome", ">Status", ">Streams", "Message"), rows)


def _parts(run: Material) -> Table:
    judgement = run.judgement
    rows: list[tuple[Cell, ...]] = []
    for part in judgement.groups:
        cells: list[Cell] = [f"{part.key} {part.name}", f"{part.totals.streams:,}"]
        for name in _SHARES:
            rate = RATES[name].over(part.totals, judgement.seconds)
            cells += [figure(rate.value, "ratio"), f"{rate.hits or 0:,} / {rate.n:,}"]
        rows.append(tuple(cells))
    columns = ("Streams of", ">All", ">Error rate", ">Failed", ">Completion rate", ">Completed")
    return Table("Errors and completion by part of the run", columns, rows)
