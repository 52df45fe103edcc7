"""How the run was made, what the instrument did meanwhile, and everything needed to repeat it."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from harness.judge.figures import NONE, figure
from harness.judge.judgement import Validity
from reports.material import Material
from reports.panel import Cell, Mark, Panel, Table, shortened, some

_LAGS = {"read_lag": "Read lag, worst of each stream", "send_lag": "Send lag"}
_READS = {
    "coalesced_reads": "held several chunks",
    "saturated_reads": "of those, came late: the generator was busy",
    "unstamped_reads": "had no kernel stamp",
}
_SAMPLES = {"cpu_percent": ("CPU of a process", "%"), "loop_lag_ms": ("Event-loop lag", "ms")}


def draw(run: Material) -> Panel:
    judgement = run.judgement
    said = judgement.run
    tables = [
        _validity(run),
        _lags(run),
        _reads(run),
        _facts("Instrument", said.instrument),
        _facts("Labels", said.labels),
        _facts("Config, without secrets", said.config),
        _facts("Fingerprint: equal in runs that may be compared", said.fingerprint),
    ]
    return Panel(
        name="circumstances",
        title="Circumstances",
        lead=_lead(run),
        tables=tuple(table for table in tables if table.rows),
        notes=(
            "Read lag is how long after the kernel’s stamp our process read a chunk: it does not touch a stamped "
            "time. Send lag is how late a request began: it is part of TTFT, which counts from the due time.",
        ),
    )


def _lead(run: Material) -> str:
    judgement = run.judgement
    stamps = judgement.run.instrument.get("stamps")
    times = {"kernel": "Arrival times are the kernel’s", "python": "Arrival times are Python’s, taken after each read"}
    said = times.get(str(stamps), "How arrivals were stamped was not recorded")
    lag = judgement.metrics["send_lag"].quantiles["p99"]
    late = f"; the generator sent no more than {figure(lag, 'ms')} late (P99)" if lag is not None else ""
    return f"{said}{late}."


def _validity(run: Material) -> Table:
    judgement = run.judgement
    if judgement.validity is Validity.VALID and not judgement.reasons:
        return Table("Validity", ("Measurement", "Why"), [(Mark("valid"), "nothing speaks against the numbers")])
    rows: list[tuple[Cell, ...]] = [(Mark(judgement.validity.value), reason) for reason in judgement.reasons]
    return Table("Validity", ("Measurement", "Why"), rows)


def _lags(run: Material) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, title in _LAGS.items():
        seen = run.judgement.metrics[name]
        if seen.n:
            rows.append(
                (title, *(figure(value, "ms") for value in (*seen.quantiles.values(), seen.max)), f"{seen.n:,} streams")
            )
    for name, (title, unit) in _SAMPLES.items():
        values = run.samples[name].value
        if len(values):
            quantiles = np.quantile(values, (0.5, 0.95, 0.99, 1.0), method="inverted_cdf").tolist()
            rows.append((title, *(f"{value:.3g} {unit}" for value in quantiles), f"{len(values):,} seconds"))
    return Table("The generator", ("", ">P50", ">P95", ">P99", ">Most", ">n"), rows)


def _reads(run: Material) -> Table:
    totals = run.judgement.totals
    reads = totals.sum("reads")
    if not reads:
        return Table("Reads", (), [])
    rows: list[tuple[Cell, ...]] = [
        (title, f"{totals.sum(name):,.0f}", figure(totals.sum(name) / reads, "ratio")) for name, title in _READS.items()
    ]
    return Table(f"Of {some(int(reads), 'read')} from sockets", ("", ">Reads", ">Share"), rows)


def _facts(caption: str, values: dict[str, Any]) -> Table:
    rows: list[tuple[Cell, ...]] = [(name, shortened(value, 400)) for name, value in _flat(values)]
    return Table(caption, ("", ""), rows)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """A tree as dotted names and texts, in its own order; what is empty is left out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        yield path, ", ".join(str(one) for one in value) or NONE
    elif value is not None:
        yield path.removesuffix("_ns"), _told(path, value)


def _told(path: str, value: Any) -> str:
    if path.endswith("_ns") and isinstance(value, int | float):
        return figure(value / 1e6, "ms")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
