"""Compare the runs of a database: with a baseline, or runs of two builds that took turns."""

from collections.abc import Sequence
from dataclasses import replace

from streamgauge.harness.errors import BaselineError
from streamgauge.harness.judge.compare import baseline, comparison, same_work
from streamgauge.harness.judge.compare.baseline_file import Member
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.run_figures import figures_of_runs
from streamgauge.harness.judge.store import Store


def with_baseline(store: Store, name: str, run_ids: Sequence[str], gate: Gate) -> Comparison:
    """Compare runs, oldest first, with a baseline of the same database or with a file.

    `name` is as in `baseline.members`. BaselineError for other work or an unknown baseline, StoreError.
    """
    known = baseline.members(store, name)
    runs = [store.run(run_id) for run_id in run_ids]
    for run in runs:
        if run.id in known:
            raise BaselineError(f"{run.id} is itself a run of the baseline {name!r}; compare other runs with it")
    members = baseline.comparable(name, list(known.values()), runs[0], gate.window)
    for run in runs[1:]:
        same_work.require(f"{runs[0].id}, which is to be judged with it,", runs[0].fingerprint, run)
    candidate = figures_of_runs(store, [run.id for run in runs], gate)
    if candidate.faults:
        return comparison.invalid(name, *next(iter(candidate.faults.items())))
    accepted = {each.run: baseline.figures_of(store, each, gate) for each in members}
    notes = (*candidate.notes, *_missing_metrics(name, members, gate))
    return replace(comparison.compare(name, accepted, candidate.figures, gate), notes=notes)


def _missing_metrics(name: str, members: Sequence[Member], gate: Gate) -> list[str]:
    """A sentence about the gated metrics that no member has, if any: the file was exported when others were gated."""
    gated = [metric.subject.text for metric in gate.metrics]
    known = {text for each in members for text in (gated if each.figures is None else each.figures)}
    missing = [text for text in gated if text not in known]
    if not missing:
        return []
    return [f"{name} was exported without {', '.join(missing)}: export it again from the database that has its runs"]


def require_comparable(store: Store, name: str, run_id: str) -> None:
    """The BaselineError that `with_baseline` would raise, if no run of the baseline did the same work as this run."""
    baseline.comparable(name, list(baseline.members(store, name).values()), store.run(run_id), 1)


def in_turns(store: Store, a: Sequence[str], b: Sequence[str], gate: Gate) -> Comparison:
    """Compare runs of two builds that took turns; `a` and `b` are equally long. BaselineError, StoreError."""
    runs = [store.run(run_id) for run_id in (*a, *b)]
    for run in runs[1:]:
        same_work.require(f"{runs[0].id}, which it took turns with,", runs[0].fingerprint, run)
    observed = figures_of_runs(store, [run.id for run in runs], gate)
    if observed.faults:
        return comparison.invalid("a", *next(iter(observed.faults.items())))
    before, after = ({run_id: observed.figures[run_id] for run_id in side} for side in (a, b))
    return replace(comparison.compare_in_turns("a", before, after, gate), notes=tuple(observed.notes))
