"""What the client library added between the arrival of a chunk and the application."""

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.verdict.summary import Quantiles, summary
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Chart, Panel, Table, interval_of, paired_bars

_TITLES = {"ttft": "TTFT", "itl": "ITL"}
_NOTE = (
    "For each chunk, the time from its perceived arrival until the library handed it to the application: the library’s "
    "own work, and its waiting for the event loop of its process. A chunk that was not handed over before the person "
    "left is not counted as handed over."
)

Figures = Quantiles[float | None]  # ms


def draw(run: Material) -> Panel | None:
    if not run.handed:
        return None  # the wire client hands over each chunk as it arrives
    measurements = run.judgement.measurements
    arrived = {
        name: {
            client: summary(measurements.distribution(name, Where(client=client))).quantiles for client in run.handed
        }
        for name in _TITLES
    }
    handed = {
        "ttft": {client: seen.first for client, seen in run.handed.items()},
        "itl": {client: seen.gaps for client, seen in run.handed.items()},
    }
    return Panel(
        name="client",
        title="What the client library added",
        lead=_lead(run),
        charts=tuple(_chart(title, arrived[name], handed[name]) for name, title in _TITLES.items()),
        tables=(
            _added(run),
            *(_table(title, arrived[name], handed[name]) for name, title in _TITLES.items()),
        ),
        notes=(_NOTE,),
    )


def _lead(run: Material) -> str:
    p50, p95, p99 = (figure(value, "ms") for value in run.judgement.metrics["client_overhead"].quantiles)
    return f"The library held a chunk for {p50} (P50), {p95} (P95) and {p99} (P99) before the application had it."


def _added(run: Material) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for client in run.handed:
        seen = summary(run.judgement.measurements.distribution("client_overhead", Where(client=client)))
        p50, p95, p99 = (figure(value, "ms") for value in seen.quantiles)
        rows.append((client, p50, p95, interval_of(seen.intervals.p95, "ms"), p99, f"{seen.n:,}"))
    columns = ("Client", ">P50", ">P95", ">95 % interval of P95", ">P99", ">n, chunks")
    return Table("Added to each chunk, by client", columns, rows)


def _chart(title: str, arrived: dict[str, Figures], handed: dict[str, Figures]) -> Chart:
    sides = {
        "What arrived": ("server", [seen.p95 for seen in arrived.values()]),
        "What was handed over": ("person", [seen.p95 for seen in handed.values()]),
    }
    return Chart(
        f"What did the client library add to {title}? P95 by client",
        paired_bars([*arrived], sides),
        height=120 + 54 * len(arrived),
    )


def _table(title: str, arrived: dict[str, Figures], handed: dict[str, Figures]) -> Table:
    columns = ("Client", ">Arrived P50", ">P95", ">P99", ">Handed over P50", ">P95", ">P99", ">Difference of P95")
    rows: list[tuple[Cell, ...]] = [
        (
            client,
            *(figure(value, "ms") for value in (*arrived[client], *handed[client])),
            _difference(arrived[client].p95, handed[client].p95),
        )
        for client in arrived
    ]
    return Table(f"{title} by client, as it arrived and as it was handed over", columns, rows)


def _difference(before: float | None, after: float | None) -> str:
    return figure(None if before is None or after is None else round(after - before, 3), "ms")
