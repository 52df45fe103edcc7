"""How much of the wait is the server's, and how much the link's: a slow server and a slow link are never confused."""

import plotly.graph_objects as go

from harness.config import Where
from harness.judge.figures import figure
from harness.judge.judgement import Summary, summary
from reports.material import Material, is_spread
from reports.panel import Cell, Chart, Panel, Table, drawn, label

MOST_ROWS = 12
_PAIRS = {"ttft": "TTFT", "itl": "ITL"}
_SIDES = {"person": "What the person got", "server": "The server’s part"}
_NOTE = (
    "The server’s part of TTFT counts from the request’s last byte sent to the first content on the wire; the rest is "
    "connecting, waiting to be sent, and the emulated link. The server’s part of ITL is the gap on the wire. "
    "Percentiles of the two are not of the same stream, so their difference is only a guide."
)


def draw(run: Material) -> Panel:
    gauge = run.judgement.gauge
    networks: list[tuple[str, Where | None]] = [("all", None)]
    networks += [(network, Where(network=network)) for network in gauge.values("network")]
    seen = {
        name: [
            (network, summary(gauge.samples(name, where)), summary(gauge.samples(f"{name}_wire", where)))
            for network, where in networks
        ]
        for name in _PAIRS
    }
    return Panel(
        name="server",
        title="The server’s part and the link’s",
        lead=_lead(run),
        charts=tuple(_chart(name, rows) for name, rows in seen.items() if rows[0][1].n),
        tables=tuple(_table(name, rows) for name, rows in seen.items() if rows[0][1].n),
        notes=(_NOTE,) if run.judgement.metrics["ttft"].n else (),
    )


def _lead(run: Material) -> str:
    metrics = run.judgement.metrics
    person, server = metrics["ttft"].quantiles["p95"], metrics["ttft_wire"].quantiles["p95"]
    if person is None or server is None:
        return "No stream had a first token, so there is no wait to divide."
    return f"P95 TTFT is {figure(person, 'ms')} for the person, and {figure(server, 'ms')} as the server sent it."


def _chart(name: str, rows: list[tuple[str, Summary, Summary]]) -> Chart:
    shown = rows[:MOST_ROWS]
    values = {
        "person": [person.quantiles["p95"] for _, person, _ in shown],
        "server": [server.quantiles["p95"] for _, _, server in shown],
    }
    places = list(range(len(shown)))
    traces = [
        go.Bar(
            orientation="h",
            x=values[side],
            y=places,
            name=title,
            marker={"color": f"var(--{side})"},
            text=[figure(value, "ms") for value in values[side]],
            textposition="auto",
            hovertemplate=f"{title}: %{{text}}<extra></extra>",
        )
        for side, title in _SIDES.items()
    ]
    ticks = [label(network, 20) for network, _, _ in shown]
    spread = is_spread([*values["person"], *values["server"]], 50)
    return Chart(
        f"P95 {_PAIRS[name]} by network: what the person got, and the server’s part of it",
        drawn(
            traces,
            xaxis={"title": {"text": "ms"}, "type": "log" if spread else "linear"},
            yaxis={"tickvals": places, "ticktext": ticks, "range": [len(shown) - 0.5, -0.5], "showgrid": False,
                   "zeroline": False},
            bargap=0.3,
        ),
        height=120 + 46 * len(shown),
    )  # fmt: skip


def _table(name: str, rows: list[tuple[str, Summary, Summary]]) -> Table:
    columns = ("Network", ">Person P50", ">P95", ">P99", ">Server P50", ">P95", ">P99", ">n")
    cells: list[tuple[Cell, ...]] = [
        (
            network,
            *(figure(value, person.unit) for value in person.quantiles.values()),
            *(figure(value, server.unit) for value in server.quantiles.values()),
            f"{person.n:,}",
        )
        for network, person, server in rows
    ]
    return Table(f"{_PAIRS[name]} by network, as the person got it and as the server sent it", columns, cells)
