"""How much of the latency is the server's and how much the link's."""

from dataclasses import dataclass

import numpy as np

from streamgauge.harness.config.schema import Where
from streamgauge.harness.judge.figures import figure
from streamgauge.harness.judge.verdict.summary import Quantiles, quantiles
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Chart, Panel, Table, paired_bars

MOST_ROWS = 12  # of a chart; the table has all rows
_TITLES = {"ttft": "TTFT", "itl": "ITL"}
_NOTE = (
    "The server’s part of TTFT counts from the request’s last byte sent to the first content on the wire; the rest is "
    "connecting, the send lag, and the emulated link, measured stream by stream. The server’s part of ITL is the gap "
    "on the wire. Percentiles of parts do not add up: the P95 of each may be of another stream."
)

Figures = Quantiles[float | None]  # ms


@dataclass(frozen=True)
class _Row:
    network: str
    person: Figures
    server: Figures
    rest: Figures | None  # of each stream, what is not the server's; None for ITL
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
    rest = _rest(run, "ttft", Where())
    beside = f"; link and connecting took at most {figure(rest.p95, 'ms')} in 95 of 100 streams" if rest else ""
    return (
        f"P95 TTFT is {figure(person, 'ms')} for the person, and {figure(server, 'ms')} as the server sent it{beside}."
    )


def _rest(run: Material, name: str, where: Where) -> Figures | None:
    left = run.judgement.evidence.sample.after_the_server(where)
    return quantiles(left, np.ones(len(left), np.int64)) if name == "ttft" and len(left) else None


def _rows(run: Material, name: str) -> list[_Row]:
    judgement = run.judgement
    whole = judgement.metrics[name]
    rest = _rest(run, name, Where())
    rows = [_Row("all", whole.quantiles, judgement.metrics[f"{name}_wire"].quantiles, rest, whole.n)]
    for part in judgement.parts:
        if part.key == "network":
            wire = judgement.measurements.distribution(f"{name}_wire", part.where)
            server, rest = quantiles(wire.values, wire.counts), _rest(run, name, part.where)
            rows.append(_Row(part.value, part.metrics[name].quantiles, server, rest, part.metrics[name].n))
    return rows


def _chart(name: str, rows: list[_Row]) -> Chart:
    shown = rows[:MOST_ROWS]
    sides = {
        "What the person got": ("person", [row.person.p95 for row in shown]),
        "The server’s part": ("server", [row.server.p95 for row in shown]),
    }
    bars = paired_bars([row.network for row in shown], sides)
    return Chart(f"Is it the server or the link? P95 {_TITLES[name]} by network", bars, height=120 + 54 * len(shown))


def _table(name: str, rows: list[_Row]) -> Table:
    columns = ["Network", ">Person P50", ">P95", ">P99", ">Server P50", ">P95", ">P99"]
    has_rest = any(row.rest for row in rows)
    if has_rest:
        columns += [">Link and connecting P50", ">P95", ">P99"]
    cells: list[tuple[Cell, ...]] = []
    for row in rows:
        sides = (*row.person, *row.server, *((row.rest or (None,) * 3) if has_rest else ()))
        cells.append((row.network, *(figure(value, "ms") for value in sides), f"{row.n:,}"))
    return Table(f"{_TITLES[name]} by network, as the person got it and as the server sent it", (*columns, ">n"), cells)
