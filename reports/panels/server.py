"""How much of the latency is the server's and how much the link's."""

from dataclasses import dataclass

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.verdict.summary import Quantiles, quantiles
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Chart, Panel, Table, paired_bars

MOST_ROWS = 12  # of a chart; the table has all rows
_TITLES = {"ttft": "TTFT", "itl": "ITL"}
_NOTE = (
    "The server’s part of TTFT counts from the request’s last byte sent to the first content on the wire; the rest is "
    "connecting, the send lag, and the emulated link. The server’s part of ITL is the gap on the wire. "
    "The two percentiles may be of different streams, so their difference is only a guide."
)

Figures = Quantiles[float | None]  # ms


@dataclass(frozen=True)
class _Row:
    network: str
    person: Figures
    server: Figures
    n: int  # samples of the person's side


def draw(run: Material) -> Panel:
    seen = {name: _rows(run, name) for name in _TITLES if run.judgement.metrics[name].n}
    return Panel(
        name="server",
        title="The server’s part and the link’s",
        lead=_lead(run),
        charts=tuple(_chart(name, rows) for name, rows in seen.items()),
        tables=tuple(_table(name, rows) for name, rows in seen.items()),
        notes=(_NOTE,) if seen else (),
    )


def _lead(run: Material) -> str:
    metrics = run.judgement.metrics
    person, server = metrics["ttft"].quantiles.p95, metrics["ttft_wire"].quantiles.p95
    if person is None or server is None:
        return "No stream had a first token, so there is no TTFT to divide."
    return f"P95 TTFT is {figure(person, 'ms')} for the person, and {figure(server, 'ms')} as the server sent it."


def _rows(run: Material, name: str) -> list[_Row]:
    judgement = run.judgement
    whole = judgement.metrics[name]
    rows = [_Row("all", whole.quantiles, judgement.metrics[f"{name}_wire"].quantiles, whole.n)]
    for part in judgement.parts:
        if part.key == "network":
            wire = judgement.measurements.distribution(f"{name}_wire", Where(network=part.value))
            server = quantiles(wire.values, wire.counts)
            rows.append(_Row(part.value, part.metrics[name].quantiles, server, part.metrics[name].n))
    return rows


def _chart(name: str, rows: list[_Row]) -> Chart:
    shown = rows[:MOST_ROWS]
    sides = {
        "What the person got": ("person", [row.person.p95 for row in shown]),
        "The server’s part": ("server", [row.server.p95 for row in shown]),
    }
    bars = paired_bars([row.network for row in shown], sides)
    return Chart(f"Is it the server or the link? P95 {_TITLES[name]} by network", bars, height=120 + 46 * len(shown))


def _table(name: str, rows: list[_Row]) -> Table:
    columns = ("Network", ">Person P50", ">P95", ">P99", ">Server P50", ">P95", ">P99", ">n")
    cells: list[tuple[Cell, ...]] = [
        (row.network, *(figure(value, "ms") for value in (*row.person, *row.server)), f"{row.n:,}") for row in rows
    ]
    return Table(f"{_TITLES[name]} by network, as the person got it and as the server sent it", columns, cells)
