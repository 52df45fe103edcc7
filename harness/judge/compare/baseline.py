"""Baselines: the accepted runs that a candidate is compared with, in the database or in one JSON file.

A baseline has a name and grows by `accept`. A candidate is compared only with members that did the same work: with the
newest of them, at most `window`. A member's figures are computed from its streams each time; a member that was imported
from a file has the figures of the file (`baseline_file`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from streamgauge.harness.errors import BaselineError, DamagedRow, RuleError
from streamgauge.harness.judge.compare import baseline_file, same_work
from streamgauge.harness.judge.compare.baseline_file import Member
from streamgauge.harness.judge.compare.gate import Gate, RunFigure
from streamgauge.harness.judge.compare.run_figures import Taker, figures, not_good, nothing, unfit
from streamgauge.harness.judge.store import Accepted, Run, Store
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.near_miss import did_you_mean, listed

SERIES = "series"  # the label that runs of one `streamgauge run --repeat` share


# Its members


def members(store: Store, name: str) -> dict[str, Member]:
    """The runs of a baseline by id, in the order of their acceptance. BaselineError if there is no such baseline.

    `name` is a baseline of this database, or the path of a file that ends in .json.
    """
    if name.endswith(".json"):
        return {each.run: each for each in baseline_file.read(name).runs}
    baselines = store.accepted(name)
    if name not in baselines:
        begins = f"; `streamgauge baseline accept {store.path} --name {name}` begins it"
        there = listed(name, baselines, begins) if baselines else f"none yet{begins}"
        raise BaselineError(f"{store.path}: no baseline called {name!r}; there are {there}")
    return {accepted.run: _member(store, accepted) for accepted in baselines[name]}


def _member(store: Store, accepted: Accepted) -> Member:
    if accepted.document is not None:
        return baseline_file.member(f"{store.path}: baselines, the document of {accepted.run!r}", accepted.document)
    run = store.run(accepted.run)
    return Member(
        run=run.id, started_at=run.started_at, fingerprint=run.fingerprint, labels=run.labels, forced=accepted.forced
    )


def comparable(name: str, known: Sequence[Member], run: Run, window: int) -> list[Member]:
    """The newest members that did the same work as `run`, oldest first. BaselineError if there are none."""
    same_members = [each for each in known if each.fingerprint == run.fingerprint]
    if not same_members:
        nearest = min(reversed(known), key=lambda each: len(same_work.differences(each.fingerprint, run.fingerprint)))
        same_work.require(f"{nearest.run} of the baseline {name!r}", nearest.fingerprint, run)
    return same_members[-window:]


def figures_of(store: Store, member: Member, gate: Gate, also: Taker = nothing) -> dict[str, RunFigure]:
    """`also` gets the judgement, unless the member has figures: then its streams are not in this database."""
    if member.figures is not None:
        return member.figures
    judged = judge(store, member.run, rules=[])
    also(judged)
    return figures(judged, gate)


# Adding and removing members


def accept(store: Store, name: str, run_ids: Iterable[str], force: str | None = None) -> int:
    """Add runs to a baseline, and return how many are new. BaselineError for a run that is not good.

    `force`: why a run that is not good is accepted all the same.
    """
    _check_name(name)
    ids = [store.run(run_id).id for run_id in run_ids]
    faults = {run_id: _fault(store, run_id) for run_id in ids}
    for run_id, fault in faults.items():
        if fault is not None and force is None:
            raise BaselineError(f"{run_id} cannot be accepted: {fault}; --force WHY accepts it all the same")
    return store.accept(name, [Accepted(run_id, _now(), None, force if faults[run_id] else None) for run_id in ids])


def fit(store: Store, run_ids: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Which runs can be accepted, and why the others cannot, by id. BaselineError if none can."""
    ids = list(run_ids)
    faults = {run_id: fault for run_id in ids if (fault := _fault(store, run_id)) is not None}
    if len(faults) == len(ids):
        raise BaselineError(
            f"{ids[0]} cannot be accepted: {faults[ids[0]]}; --run {ids[0]} --force WHY accepts it all the same"
        )
    return [run_id for run_id in ids if run_id not in faults], faults


def _fault(store: Store, run_id: str) -> str | None:
    """Why a run should not be accepted; None if it is good, by its own rules."""
    try:
        judged = judge(store, run_id)
    except (DamagedRow, RuleError) as fault:
        return str(fault)
    return unfit(judged) or not_good(judged)


def remove(store: Store, name: str, runs: Sequence[str]) -> tuple[int, int]:
    """Take runs out of a baseline, or all if `runs` is empty; return how many were removed and how many are left.

    Each of `runs` is an id or the beginning of one. BaselineError if it matches none of the members, or several.
    """
    _check_name(name)
    known = list(members(store, name))
    removed = store.forget(name, [_known_run(known, run, name) for run in runs] or known)
    return removed, len(known) - removed


def _known_run(known: Sequence[str], beginning: str, name: str) -> str:
    matches = [beginning] if beginning in known else [run for run in known if run.startswith(beginning)]
    if len(matches) != 1:
        several = ", ".join(matches[-same_work.MOST_LISTED :])
        problem = f"begins more than one run: {several}" if matches else "is not in it"
        meant = "" if matches else did_you_mean(beginning, known)
        raise BaselineError(f"the baseline {name!r}: {beginning!r} {problem}; its newest is {known[-1]}{meant}")
    return matches[0]


def _check_name(name: str) -> None:
    if not name.strip() or not name.isprintable():
        raise BaselineError(f"{name!r} is not a name for a baseline: use printable characters, as in main")
    if name.endswith(".json"):
        raise BaselineError(
            f"{name!r} is not a name for a baseline: --baseline reads a name that ends in .json as a file"
        )


# Files


def export(store: Store, name: str, gate: Gate) -> str:
    """A baseline as the text of a file, with the figures of the metrics that are gated now."""
    known = members(store, name).values()
    return baseline_file.render(
        name, [msgspec.structs.replace(each, figures=figures_of(store, each, gate)) for each in known]
    )


def import_file(store: Store, path: str, name: str | None = None) -> tuple[str, int]:
    """Add the runs of a file to a baseline (None: of the file's name); returns the name, and how many are new."""
    file = baseline_file.read(path)
    name = file.name if name is None else name
    _check_name(name)
    accepted = [Accepted(each.run, _now(), msgspec.to_builtins(each), each.forced) for each in file.runs]
    return name, store.accept(name, accepted)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


# Choosing runs


def newest(store: Store) -> list[str]:
    """The newest run and all of its series, oldest first. StoreError if there is none."""
    last = store.run()
    series = last.labels.get(SERIES)
    if series is None:
        return [last.id]
    return [run.id for run in store.runs() if run.labels.get(SERIES) == series]


def labelled(store: Store, labels: Mapping[str, str]) -> list[str]:
    """The finished runs that have all of these labels, oldest first. BaselineError if there are none."""
    matches = [run for run in store.runs() if labels.items() <= run.labels.items() and run.status == "finished"]
    if not matches:
        wanted = ", ".join(f"{name}={value}" for name, value in labels.items())
        raise BaselineError(f"{store.path}: no finished run has the label {wanted}")
    return [run.id for run in matches]
