"""How the run was made, the load generator's own figures, and everything needed to repeat the run."""

from typing import Any

import msgspec
import numpy as np
import plotly.graph_objects as go

from streamgauge.harness.judge.figures import NONE, figure, some, span
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.judge.wording import leaves, shortened
from streamgauge.harness.record.certificate import Certificate
from streamgauge.harness.record.vitals import Vital
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Chart, Mark, Panel, Table, plot

_LAGS = {"read_lag": "Read lag, worst of each stream", "send_lag": "Send lag"}
_READS = {
    "coalesced_reads": ("held several chunks", "reads"),
    "saturated_reads": ("of those, read late: the generator was busy", "coalesced_reads"),
    "unstamped_reads": ("had no kernel stamp", "reads"),
}
_COURSE = (Vital.CPU_PERCENT, Vital.LOOP_LAG)  # drawn over time
_VITALS = {
    Vital.CPU_PERCENT: "CPU of a process",
    Vital.LOOP_LAG: "Event-loop lag, most in each second",
    Vital.CONNECT_LAG: "Connect lag, most in each second",
}
_OWN_TABLES = {"workers", "certificate"}  # facts of the instrument that are not in the table of that name
_ROWS, _POINTS = 12, 240  # points of the generator over time, in the table and in the chart


def draw(run: Material) -> Panel:
    judgement = run.judgement
    made = judgement.run
    tables = [
        _validity(run),
        _lags(run),
        _reads(run),
        _processes(made.instrument.get("workers", {})),
        _health(run),
        _accuracy(made.instrument.get("workers", {}), made.instrument.get("resolution")),
        _certificate(made.instrument.get("certificate")),
        _facts("Instrument", {name: value for name, value in made.instrument.items() if name not in _OWN_TABLES}),
        _facts("Labels", made.labels),
        _facts("Config, without secrets", made.config),
        _facts("Fingerprint: equal in runs that may be compared", made.fingerprint),
    ]
    return Panel(
        name="circumstances",
        title="Circumstances",
        lead=_lead(run),
        charts=_course(run),
        tables=tuple(table for table in tables if table.rows),
        notes=(
            "Read lag is how long after the kernel’s stamp our process read a chunk: it does not affect a stamped "
            "time. Send lag is how late a request began: it is part of TTFT, which counts from the due time. "
            "Connect lag is how long after the kernel a process noticed that a connection existed: it is part of the "
            "TTFT of the streams that opened one, and not the server’s. "
            "Clocks of other machines are compared only to put all streams on one time axis: a stream’s own times are "
            "differences of one clock, that of the machine that sent the request.",
        ),
    )


def _lead(run: Material) -> str:
    judgement = run.judgement
    stamps = judgement.run.instrument.get("stamps")
    times = {"kernel": "Arrival times are the kernel’s", "python": "Arrival times are Python’s, taken after each read"}
    stamped = times.get(str(stamps), "How arrivals were stamped was not recorded")
    lag = judgement.metrics["send_lag"].quantiles.p99
    late = f"; the generator sent no more than {figure(lag, 'ms')} late (P99)" if lag is not None else ""
    return f"{stamped}{late}."


def _validity(run: Material) -> Table:
    judgement = run.judgement
    if judgement.validity is Validity.VALID and not judgement.reasons:
        return Table("Validity", ("Measurement", "Why"), [(Mark("valid"), "no fault was found")])
    rows: list[tuple[Cell, ...]] = [(Mark(judgement.validity.value), reason) for reason in judgement.reasons]
    return Table("Validity", ("Measurement", "Why"), rows)


def _lags(run: Material) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, title in _LAGS.items():
        seen = run.judgement.metrics[name]
        if seen.n:
            rows.append(
                (title, *(figure(value, "ms") for value in (*seen.quantiles, seen.max)), some(seen.n, "stream"))
            )
    for vital, title in _VITALS.items():
        values = run.samples[vital].value
        if len(values):
            quantiles = np.quantile(values, (0.5, 0.95, 0.99, 1.0), method="inverted_cdf").tolist()
            rows.append((title, *(f"{value:.3g} {vital.unit}" for value in quantiles), some(len(values), "second")))
    return Table("The generator", ("", ">P50", ">P95", ">P99", ">Most", ">n"), rows)


def _reads(run: Material) -> Table:
    totals = run.judgement.totals
    reads = totals.sum("reads")
    if not reads:
        return Table("Reads", (), [])
    rows: list[tuple[Cell, ...]] = [
        (title, f"{totals.sum(name):,.0f}", _share(totals.sum(name), totals.sum(whole)))
        for name, (title, whole) in _READS.items()
    ]
    return Table(f"Of {some(int(reads), 'read')} from sockets", ("", ">Reads", ">Share"), rows)


def _share(n: float, whole: float) -> str:
    return figure(n / whole, "ratio") if whole else NONE


def _processes(workers: dict[str, dict[str, Any]]) -> Table:
    columns = (
        "Process",
        "On",
        ">CPUs",
        "Stamps, reader",
        ">Streams",
        ">CPU, most",
        ">Loop lag, most",
        ">Connect lag, most",
        ">GC pause, most",
        "Clock",
    )
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            f"{facts['host']}, process {facts.get('pid', NONE)}" if "host" in facts else NONE,
            str(facts.get("cpus", NONE)),
            ", ".join(str(facts[name]) for name in ("stamps", "reader") if name in facts) or NONE,
            f"{facts.get('streams', 0):,}",
            _most(facts, Vital.CPU_PERCENT),
            _most(facts, Vital.LOOP_LAG),
            _most(facts, Vital.CONNECT_LAG),
            _most(facts, Vital.GC_PAUSE),
            _clock(facts),
        )
        for name, facts in workers.items()
    ]
    return Table(f"{some(len(rows), 'process', 'processes')} drove the users", columns, rows)


def _accuracy(workers: dict[str, dict[str, Any]], own: object) -> Table:
    """How exact the times of each machine are, if there are others than the one that recorded the run."""
    facts = [each for each in workers.values() if each.get("resolution")]
    machines = sorted({(str(each.get("host", NONE)), str(each["resolution"])) for each in facts})
    rows: list[tuple[Cell, ...]] = [*machines] if {said for _, said in machines} - {own} else []
    return Table("Accuracy of each machine that drove users", ("Machine", "By its calibration"), rows, cards=True)


def _certificate(stored: Any) -> Table:
    """What `streamgauge calibrate` had found on the machine of the run; no rows without that."""
    columns = ("Processes", "Over", ">Streams", ">Events/s", ">TTFT off by, P99", ">ITL off by, P99", "Certified")
    try:
        certificate = msgspec.convert(stored, Certificate)
    except msgspec.ValidationError:
        return Table("Accuracy", columns, [])
    rows: list[tuple[Cell, ...]] = [
        (
            f"{point.processes:,}",
            "TLS" if point.tls else "plain HTTP",
            f"{point.streams:,}",
            f"{point.events_per_second:,.0f}",
            figure(point.ttft_error_p99, "ms"),
            figure(point.itl_error_p99, "ms"),
            f"no: {point.doubt}" if point.doubt else "yes",
        )
        for point in certificate.points
    ]
    return Table(
        f"Accuracy of the machine that recorded the run, as it was measured on {certificate.day}", columns, rows
    )


def _clock(facts: dict[str, Any]) -> str:
    """The process's clock compared with the master's at the start, and whether it stepped later."""
    drift = facts.get(Vital.CLOCK_DRIFT.worst_as) or 0
    stepped = f", stepped by {_shown('_ns', drift)}" if abs(drift) > 1e6 else ""
    if facts.get("clock_offset_ns") is None:
        return f"the run’s own{stepped}"
    if facts.get("clock_doubt_ns") is None:
        return f"not compared{stepped}"
    ahead, doubt = (_shown("_ns", facts[name]) for name in ("clock_offset_ns", "clock_doubt_ns"))
    return f"{ahead} ahead, ± {doubt}{stepped}" if facts["clock_offset_ns"] else f"the run’s own, ± {doubt}{stepped}"


def _most(facts: dict[str, Any], vital: Vital) -> str:
    """The worst value of a vital in a process's summary."""
    return _rounded(facts.get(vital.worst_as), vital.unit)


def _rounded(value: float | None, unit: str) -> str:
    return NONE if value is None else f"{value:.3g} {unit}"


def _health(run: Material) -> Table:
    columns = [_worst(run, name, _ROWS) for name in (Vital.CPU_PERCENT, Vital.LOOP_LAG, Vital.ACTIVE_STREAMS)]
    seconds = run.judgement.took / _ROWS
    rows: list[tuple[Cell, ...]] = [
        (span(place * seconds), _rounded(cpu, "%"), _rounded(lag, "ms"), NONE if streams is None else f"{streams:,.0f}")
        for place, (cpu, lag, streams) in enumerate(zip(*columns, strict=True))
        if (cpu, lag, streams) != (None, None, None)
    ]
    columns_ = ("From", ">CPU", ">Loop lag", ">Streams under way")
    return Table("The generator over time: the most of any process", columns_, rows)


def _course(run: Material) -> tuple[Chart, ...]:
    """CPU and loop lag over time; empty for a short run, of which the table shows every point."""
    count = min(_POINTS, int(run.judgement.took))
    if count <= _ROWS or not len(run.samples[Vital.CPU_PERCENT].value):
        return ()
    at = [(place + 0.5) * run.judgement.took / count for place in range(count)]
    cpu, lag = (_worst(run, name, count) for name in _COURSE)
    traces = [
        go.Scatter(x=at, y=values, yaxis=axis, name=name, mode="lines", connectgaps=True,
                   line={"color": colour, "width": 1.5, "dash": dash},
                   hovertemplate=f"{name} %{{y:.3g}} {unit}<extra></extra>")
        for values, axis, name, unit, colour, dash in (
            (cpu, "y", "CPU", "%", "var(--line-1)", "solid"),
            (lag, "y2", "loop lag", "ms", "var(--line-2)", "dot"),
        )
    ]  # fmt: skip
    drawing = plot(
        traces,
        hovermode="x unified",
        hoverdistance=-1,
        showlegend=True,
        xaxis={"title": {"text": "s"}, "range": [0, run.judgement.took], "showgrid": False},
        yaxis={"title": {"text": "% of a core"}, "range": [0, 1.1 * max(100.0, *(one or 0 for one in cpu))]},
        yaxis2={
            "title": {"text": "ms"}, "side": "right", "overlaying": "y", "showgrid": False, "rangemode": "tozero",
            "tickmode": "auto", "nticks": 4,
        },
    )  # fmt: skip
    return (
        Chart("Was the load generator busy? CPU and event-loop lag, the most of any process", drawing, 220, wide=True),
    )


def _worst(run: Material, name: Vital, parts: int) -> list[float | None]:
    """The largest sample of any process in each of `parts` equal parts of the run; None without a sample."""
    series, worst = run.samples[name], np.full(parts, -np.inf)
    place = np.clip(series.at / 1e9 // (max(run.judgement.took, 1e-9) / parts), 0, parts - 1).astype(int)
    np.maximum.at(worst, place, series.value)
    return [None if value == -np.inf else value for value in worst.tolist()]


def _facts(caption: str, values: dict[str, Any]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (path.removesuffix("_ns"), shortened(_shown(path, value), 400))
        for path, value in leaves(values)
        if value is not None and value != {}
    ]
    return Table(caption, ("", ""), rows)


def _shown(path: str, value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(one) for one in value) or NONE
    if path.endswith("_ns") and isinstance(value, int | float):
        return figure(value / 1e6, "ms")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
