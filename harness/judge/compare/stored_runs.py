"""Compare the runs of a database: with a baseline, or runs of two builds that took turns."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from streamgauge.harness.errors import BaselineError
from streamgauge.harness.judge.compare import baseline, comparison, same_work
from streamgauge.harness.judge.compare.baseline_file import Member
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gate import Gate, RunFigure
from streamgauge.harness.judge.compare.regression import FEWEST_PAIRS
from streamgauge.harness.judge.compare.run_figures import Taker, figures_of_runs, nothing
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.store import Store


def with_baseline(store: Store, name: str, run_ids: Sequence[str], gate: Gate, also: Taker = nothing) -> Comparison:
    """Compare runs, oldest first, with a baseline, once: see `Against.compare`."""
    return Against(name, gate, also).compare(store, run_ids)


class Against:
    """A baseline to compare runs with, as often as a gate looks. The figures of its runs are computed once.

    `name` is as in `baseline.members`. `also` gets the judgement of every compared run whose streams are here.
    """

    def __init__(self, name: str, gate: Gate, also: Taker = nothing) -> None:
        self._name, self._gate, self._also = name, gate, also
        self._figures: dict[str, Mapping[str, RunFigure]] = {}  # by the id of a run of the baseline

    def members(self, store: Store) -> dict[str, Member]:
        """BaselineError for an unknown baseline."""
        return baseline.members(store, self._name)

    def compare(self, store: Store, run_ids: Sequence[str]) -> Comparison:
        """Compare runs, oldest first, with the baseline of the same database or of a file.

        BaselineError for other work or an unknown baseline, StoreError.
        """
        name, gate, known = self._name, self._gate, self.members(store)
        runs = [store.run(run_id) for run_id in run_ids]
        for run in runs:
            if run.id in known:
                raise BaselineError(f"{run.id} is itself a run of the baseline {name!r}; compare other runs with it")
        members = baseline.comparable(name, list(known.values()), runs[0], gate.window)
        for run in runs[1:]:
            same_work.require(f"{runs[0].id}, which is to be judged with it,", runs[0].fingerprint, run)
        candidate = figures_of_runs(store, [run.id for run in runs], gate, self._also)
        if candidate.faults:
            return comparison.invalid(name, [each.run for each in members], run_ids, candidate.faults)
        accepted = {each.run: self._figures_of(store, each) for each in members}
        compared = comparison.compare(name, accepted, candidate.figures, gate)
        notes = (*candidate.notes, *_missing_metrics(name, members, gate), *_early(compared, gate))
        return replace(compared, notes=notes)

    def require_comparable(self, store: Store, run_id: str) -> None:
        """The BaselineError that `compare` would raise, if no run of the baseline did the same work as this run."""
        baseline.comparable(self._name, list(self.members(store).values()), store.run(run_id), 1)

    def _figures_of(self, store: Store, member: Member) -> Mapping[str, RunFigure]:
        if member.run not in self._figures:
            self._figures[member.run] = baseline.figures_of(store, member, self._gate, self._also)
        return self._figures[member.run]


def _early(compared: Comparison, gate: Gate) -> list[str]:
    """A sentence about a first stage that took fewer runs than it may, if it did."""
    runs = len(compared.first_runs)
    if not compared.is_clear or not 0 < runs < gate.first_runs:
        return []
    suspicious = compared.fresh_runs or compared.wanted
    why = "clearly worse" if suspicious else "a change beyond the margin is ruled out"
    return [f"the first stage ended after {some(runs, 'run')} of {gate.first_runs}: {why}"]


def _missing_metrics(name: str, members: Sequence[Member], gate: Gate) -> list[str]:
    """A sentence about the gated metrics that no member has, if any: the file was exported when others were gated."""
    gated = [metric.subject.text for metric in gate.metrics]
    known = {text for each in members for text in (gated if each.figures is None else each.figures)}
    missing = [text for text in gated if text not in known]
    if not missing:
        return []
    return [f"{name} was exported without {', '.join(missing)}: export it again from the database that has its runs"]


def in_turns(store: Store, a: Sequence[str], b: Sequence[str], gate: Gate, also: Taker = nothing) -> Comparison:
    """Compare runs of two builds that took turns; `a` and `b` are equally long. BaselineError, StoreError.

    Pairs with a run that cannot be compared are left out and named, but at most a third of them: otherwise what spoilt
    them would decide which runs count.
    """
    runs = [store.run(run_id) for run_id in (*a, *b)]
    for run in runs[1:]:
        same_work.require(f"{runs[0].id}, which it took turns with,", runs[0].fingerprint, run)
    observed = figures_of_runs(store, [run.id for run in runs], gate, also)
    faults = observed.faults
    pairs = [pair for pair in zip(a, b, strict=True) if not faults.keys() & set(pair)]
    if faults and (len(pairs) < FEWEST_PAIRS or 3 * len(pairs) < 2 * len(a)):
        return comparison.invalid("a", a, b, faults)
    before = {run_id: observed.figures[run_id] for run_id, _ in pairs}
    after = {run_id: observed.figures[run_id] for _, run_id in pairs}
    left_out = [f"a pair is left out: {run_id} is invalid: {why}" for run_id, why in faults.items()]
    notes = (*left_out, *observed.notes)
    return replace(comparison.compare_in_turns("a", before, after, gate), notes=notes)
