"""The panels of a comparison, and its page: the verdict, the changes, distributions, runs, and what else differs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from streamgauge.harness.judge.compare import same_work
from streamgauge.harness.judge.compare.comparison import GateStatus
from streamgauge.harness.judge.compare.gated import Gated
from streamgauge.harness.judge.compare.run_shapes import RunShape
from streamgauge.harness.judge.figures import NONE, change, changes, figure, some
from streamgauge.harness.judge.store import Run
from streamgauge.harness.judge.wording import capitalised, leaves, shortened
from streamgauge.reports import facts, page
from streamgauge.reports.comparison import forest, overlaid
from streamgauge.reports.comparison.changes import Change, Compared
from streamgauge.reports.material import Material
from streamgauge.reports.panel import Cell, Fact, Mark, Panel, Picture, Table, figure_or_never, sentence

# Beside the verdict of two single runs, which have a row for every metric.
_KEY_FIGURES = ("p50(ttft)", "p95(ttft)", "p50(itl)", "p95(itl)", "error_rate", "completion_rate")
_MOST_ON_TOP = 6
_MOST_DIFFERENCES, _LONGEST = 60, 300  # rows, and characters of one
_OF_ONE_RUN = {"series", "repeat", "pair", "side"}  # labels that only say which run of a series it was
_MARGIN = "Grey: the margin, within which no change is reported. Line: the 95 % interval of the change."
_CAPTION = "What changed, and is it real?"


def render(compared: Compared) -> str:
    """The HTML page of a comparison."""
    top = _on_top(compared)
    below = [row for row in compared.rows if row not in top]
    scenarios = sorted({shape.run.scenario for side in compared.sides for shape in side.shapes})
    runs = sum(len(side.runs) for side in compared.sides)
    panels = [_head(compared, top), *_panels(compared, below)]
    return page.assemble(panels, ", ".join(scenarios), some(runs, "run"), kind="comparison")


def render_gated(gated: Gated, material: Material, compared: Compared) -> str:
    """The report of the run whose rules ended worst, and behind its first screen what the gate found of all runs."""
    first, *rest = page.panels(material)
    told = f"{first.lead} {_sentence(compared)}" if gated.has_rules else _sentence(compared)
    head = replace(first, title=gated.status, status=gated.status, lead=told)
    run = material.judgement.run
    panels, parts = [head, *_panels(compared, compared.rows), *rest], list(facts.parts(material))
    return page.assemble(panels, run.scenario, f"run {run.id}", parts, run.id)


def _on_top(compared: Compared) -> list[Change]:
    if compared.status is None:
        return [row for row in compared.rows if row.subject in _KEY_FIGURES]
    worst = sorted(compared.rows, key=lambda row: -row.worse_by)[:_MOST_ON_TOP]
    return [row for row in compared.rows if row in worst]


# The first screen


def _head(compared: Compared, top: Sequence[Change]) -> Panel:
    return Panel(
        name="verdict",
        title=compared.status or "no verdict",
        lead=_sentence(compared),
        facts=tuple(_facts(compared)),
        picture=Picture(_CAPTION, forest.draw(top), _MARGIN) if top else None,
        tables=(Table("What was compared", ("", ""), list(_identity(compared))),),
        notes=tuple(sentence(note) for note in compared.notes),
        status=compared.status,
    )


def _sentence(compared: Compared) -> str:
    """What matters most: the metric that is worst or best, or the largest change that was not found."""
    name, status = compared.before.name, compared.status
    if not compared.rows or status in {GateStatus.INVALID, GateStatus.INCONCLUSIVE}:
        return sentence(compared.reason)
    if status is None:
        return sentence(f"{compared.reason}. The largest change: {_largest(_on_top(compared) or compared.rows).told}")
    if status == GateStatus.REGRESSED:
        first, *more = compared.worst(GateStatus.REGRESSED)
        others = f"; {some(len(more), 'more metric')} worse" if more else ""
        return sentence(f"worse than {name}: {first.told}, margin {_margin(first)}{others}")
    if status == GateStatus.IMPROVED:
        *_, best = compared.worst(GateStatus.IMPROVED)
        return sentence(f"better than {name}: {best.told}")
    return sentence(f"not worse than {name}. The largest change: {_largest(compared.rows).told}")


def _largest(rows: Sequence[Change]) -> Change:
    return max(rows, key=lambda row: abs(row.worse_by) if math.isfinite(row.worse_by) else -1.0)


def _margin(row: Change) -> str:
    return change(row.metric.unscaled(row.metric.sign * row.metric.margin), row.unit).lstrip("+")


def _facts(compared: Compared) -> Iterator[Fact]:
    for side in compared.sides:
        streams = some(sum(shape.streams for shape in side.shapes), "stream") if side.shapes else ""
        yield Fact(f"Runs of {shortened(side.name, 30)}", f"{len(side.runs):,}", streams)
    if compared.status is not None and (hidden := _hidden(compared)):
        yield hidden


def _hidden(compared: Compared) -> Fact | None:
    """The largest regression that the runs do not rule out, in margins."""
    ends = [(row, _worse_end(row)) for row in compared.rows]
    known = [(row, end) for row, end in ends if end is not None]
    if not known:
        return None
    row, end = max(known, key=lambda each: _in_margins(*each))
    return Fact("Not ruled out", change(end, row.unit), f"of {row.subject}: the upper end of its 95 % interval")


def _worse_end(row: Change) -> float | None:
    return row.interval.high if row.metric.sign > 0 else row.interval.low


def _in_margins(row: Change, end: float) -> float:
    return row._replace(change=end).worse_by


def _identity(compared: Compared) -> Iterator[tuple[Cell, ...]]:
    for side in compared.sides:
        if (newest := side.newest) is not None:
            commit = newest.labels.get("commit", "")[:12]
            told = ", ".join(filter(None, (newest.host, newest.started_at[:16].replace("T", " "), commit)))
            yield shortened(capitalised(side.name), 20), shortened(told, 120)


# Below it


def _panels(compared: Compared, drawn: Sequence[Change]) -> list[Panel]:
    """`drawn`: the rows whose changes are not drawn on the first screen."""
    panels = (_changes(compared, drawn), _shapes(compared), _runs(compared), _different(compared))
    return [panel for panel in panels if panel is not None]


def _changes(compared: Compared, drawn: Sequence[Change]) -> Panel | None:
    if not compared.rows:
        return None
    gated = compared.status is not None
    rows: list[tuple[Cell, ...]] = [
        (
            *([Mark(row.status or "")] if gated else []),
            row.subject,
            figure(row.before, row.unit),
            figure(row.after, row.unit),
            NONE if row.change is None else change(row.change, row.unit),
            changes(row.interval, row.unit) or NONE,
            _margin(row),
            *([row.reason] if gated else []),
        )
        for row in compared.rows
    ]
    columns = ("Metric", ">Before", ">Now", ">Change", ">95 % interval", ">Margin")
    before, after = (f"{some(len(side.runs), 'run')} of {side.name}" for side in compared.sides)
    lead = f"Before: what is typical of {before}. Now: of {after}." if gated else "Every figure of both runs."
    return Panel(
        name="changes",
        title=f"Against {shortened(compared.before.name, 30)}" if gated else "What changed",
        lead=lead,
        body=forest.draw(drawn) if drawn else None,
        tables=(
            Table("Changes", ("Status", *columns, "Why") if gated else columns, rows, cards=gated, sortable=not gated),
        ),
        notes=(_MARGIN,) if drawn else (),
    )


def _shapes(compared: Compared) -> Panel | None:
    if not any(side.shapes for side in compared.sides):
        return None
    without = sum(len(side.runs) - len(side.shapes) for side in compared.sides)
    missing = (
        f"{some(without, 'run')} came from a file with figures and without streams: they are in the changes, and in no "
        f"line here."
    )
    return Panel(
        name="overlaid",
        title="Both sides laid over each other",
        lead="A line that lies to the right is slower. One that ends below 100 % shows streams that failed.",
        charts=(*overlaid.shares(compared), *overlaid.by_percentile(compared)),
        tables=(overlaid.ladder(compared),),
        notes=(missing,) if without else (),
    )


def _runs(compared: Compared) -> Panel | None:
    if not any(side.shapes for side in compared.sides):
        return None
    rows: list[tuple[Cell, ...]] = []
    for side in compared.sides:
        known = {shape.run.id: _run(shape) for shape in side.shapes}
        rows += [(side.name, run_id, *known.get(run_id, (NONE,) * 7)) for run_id in side.runs]
    columns = (
        "Side", "Run", "Started (UTC)", "Commit", ">Streams", ">Failed", ">P50 TTFT", ">P95 TTFT", ">P95 ITL",
    )  # fmt: skip
    return Panel(
        name="compared-runs",
        title="The runs",
        lead="A change counts only if it is larger than what equal runs are apart.",
        charts=(overlaid.by_run(compared),) if len(rows) > 2 else (),
        tables=(Table("Each run", columns, rows, sortable=True),),
    )


def _run(shape: RunShape) -> tuple[str, ...]:
    return (
        shape.run.started_at[:16].replace("T", " "),
        shape.run.labels.get("commit", "")[:12] or NONE,
        f"{shape.streams:,}",
        f"{shape.failed:,}",
        *(figure_or_never(value, "ms") for value in (shape.p50, shape.p95, shape.p95_itl)),
    )


def _different(compared: Compared) -> Panel | None:
    before, after = (side.newest for side in compared.sides)
    if before is None or after is None:
        return None
    of_work = same_work.differences(before.fingerprint, after.fingerprint)
    others = same_work.differences(_circumstances(before), _circumstances(after))
    differ = f"{some(len(of_work), 'key')} of the fingerprint {'differs' if len(of_work) == 1 else 'differ'}"
    work = f"Not the same work: {differ}" if of_work else "The same work"
    tables = [
        Table(caption, ("What", "Difference"), [*_split(texts)])
        for caption, texts in (("In the fingerprint", of_work), ("Besides", others))
        if texts
    ]
    return Panel(
        name="differences",
        title="What else differs",
        lead=f"{work}. Compared are the newest runs of both sides: {before.id} and {after.id}.",
        tables=tuple(tables),
        notes=("Only runs of the same work say something about the server.",) if of_work else (),
    )


def _split(texts: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    for text in texts[:_MOST_DIFFERENCES]:
        key, _, told = text.partition(" was ")
        yield shortened(key, _LONGEST), shortened(f"was {told}", _LONGEST)
    if len(texts) > _MOST_DIFFERENCES:
        yield f"and {len(texts) - _MOST_DIFFERENCES} more", ""


def _circumstances(run: Run) -> Mapping[str, Any]:
    """What may explain a difference: host, labels, config, and the instrument as far as it is not measured."""
    labels = {name: value for name, value in run.labels.items() if name not in _OF_ONE_RUN}
    named = {path: value for path, value in leaves(run.instrument) if isinstance(value, str) and _is_fixed(path)}
    every = {"host": run.host, "label": labels, "config": run.config, "instrument": named}
    return {name: value for name, value in every.items() if value}


def _is_fixed(path: str) -> bool:
    return not path.startswith(("workers.", "certificate."))
