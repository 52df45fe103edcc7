"""Baselines: the accepted runs that a candidate is compared with; in the database, or in one small JSON file.

A baseline has a name and grows by `accept`. Only runs of the same kind are compared: those with an equal fingerprint,
the newest of them up to the window. What a run had of each gating metric is computed from its streams each time;
a file carries these figures, and a run that came from a file has no others.

    {"schema": "streamgauge/baseline/1", "name": "main", "runs": [{"run": …, "fingerprint": {…},
     "figures": {"p95(ttft)": [412.3, 1000]}, …}]}          the figure (null: it never came) and the samples it is of
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from streamgauge.harness.config.schema import Regression
from streamgauge.harness.errors import BaselineError
from streamgauge.harness.judge.compare import regression
from streamgauge.harness.judge.compare.regression import Comparison, Reading
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.metrics import RATES, Gauge
from streamgauge.harness.judge.measure.statistics import Interval
from streamgauge.harness.judge.store import Accepted, Run, Store
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.judge.verdict.subjects import Subject
from streamgauge.harness.judge.verdict.summary import independent_samples
from streamgauge.harness.judge.verdict.validity import Validity

SCHEMA = "streamgauge/baseline/1"
SERIES = "series"  # the label that runs of one `streamgauge run --repeat` share
_OF_THE_INSTRUMENT = {"send_lag", "read_lag", "client_overhead"}
_MOST_TOLD = 3  # differences of two fingerprints, in one line


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A run as a baseline knows it."""

    run: str
    started_at: str
    fingerprint: dict[str, Any]
    labels: dict[str, str] = {}
    figures: dict[str, Reading] | None = None  # by metric, as the config writes it; None: its streams tell


class _File(msgspec.Struct, frozen=True, kw_only=True):
    schema: str
    name: str
    runs: list[Member]


# The gate


def gate(store: Store, name: str, run_ids: Sequence[str], settings: Regression) -> Comparison:
    """Compare runs of this database, oldest first, with a baseline. BaselineError, RuleError, StoreError.

    `name` is a baseline of the same database, or the path of a file that ends in .json.
    """
    regression.gates(settings)  # a mistake in the config is told before minutes of reading
    known = members(store, name)
    runs = [store.run(run_id) for run_id in run_ids]
    for run in runs:
        if run.id in known:
            raise BaselineError(f"{run.id} is itself a run of the baseline {name!r}; compare others with it")
    chosen = comparable(name, list(known.values()), runs[0], settings.window)
    for run in runs[1:]:
        _same(f"{runs[0].id}, which is to be judged with it,", runs[0].fingerprint, run)
    candidate, faults, notes = observed(store, [run.id for run in runs], settings)
    if faults:
        return regression.invalid(name, *next(iter(faults.items())))
    baseline = {each.run: figures_of(store, each, settings) for each in chosen}
    notes += _lacking(name, chosen, settings)
    return replace(regression.compare(name, baseline, candidate, settings), notes=tuple(notes))


def _lacking(name: str, chosen: Sequence[Member], settings: Regression) -> list[str]:
    """What a file cannot tell, since it was exported when other metrics gated; at most a sentence."""
    known = {text for each in chosen for text in (settings.metrics if each.figures is None else each.figures)}
    lacking = [text for text in settings.metrics if text not in known]
    return [f"{name} was exported without {', '.join(lacking)}: export it again where its runs are"] if lacking else []


def check(store: Store, name: str, run_id: str) -> None:
    """BaselineError where no run of the baseline is of the same work as this one, as `gate` would say."""
    comparable(name, list(members(store, name).values()), store.run(run_id), 1)


def in_turns(store: Store, a: Sequence[str], b: Sequence[str], settings: Regression) -> Comparison:
    """Compare runs that took turns, as many of the one as of the other. BaselineError, RuleError, StoreError."""
    runs = [store.run(run_id) for run_id in (*a, *b)]
    for run in runs[1:]:
        _same(f"{runs[0].id}, which it took turns with,", runs[0].fingerprint, run)
    found, faults, notes = observed(store, [run.id for run in runs], settings)
    if faults:
        return regression.invalid("a", *next(iter(faults.items())))
    before, after = ({run_id: found[run_id] for run_id in side} for side in (a, b))
    return replace(regression.compare_pairs("a", before, after, settings), notes=tuple(notes))


def observed(
    store: Store, run_ids: Iterable[str], settings: Regression
) -> tuple[dict[str, dict[str, Reading]], dict[str, str], list[str]]:
    """What each run had, by id; why some are unfit, by id; and what else to know of the others, a sentence each."""
    found, faults, notes = {}, {}, []
    for run_id in run_ids:
        judged = judge(store, run_id, rules=[])
        if (fault := unfit(judged)) is not None:
            faults[run_id] = fault
            continue
        if judged.validity is Validity.DEGRADED:
            notes.append(f"{run_id} is degraded: {judged.reasons[0]}")
        found[run_id] = figures(judged, settings)
    return found, faults, notes


def unfit(judged: Judgement) -> str | None:
    """Why a run is neither to be compared nor to be compared with."""
    if judged.validity is Validity.INVALID:
        return judged.reasons[0]
    if judged.run.status != "finished":
        return f"the run is {judged.run.status}, not finished"
    return None if judged.totals.streams else "the run has no streams"


def figures(judged: Judgement, settings: Regression) -> dict[str, Reading]:
    """What a run had of each gating metric, failures as +∞. What was not observed is absent."""
    found = {}
    for each in regression.gates(settings):
        reading = _reading(each.subject, judged.gauge, judged.seconds)
        if reading is not None:
            found[each.subject.text] = reading
    return found


def figures_of(store: Store, member: Member, settings: Regression) -> dict[str, Reading]:
    """What a run of a baseline had: computed, or as its file says."""
    return figures(judge(store, member.run, rules=[]), settings) if member.figures is None else member.figures


def _reading(subject: Subject, gauge: Gauge, seconds: float) -> Reading | None:
    if subject.aggregation is None:
        rate = RATES[subject.name].over(gauge.totals(), seconds)
        return None if rate.value is None else Reading(_finite(rate.value), rate.n)
    samples = gauge.samples(subject.name)
    values, counts = samples.gated()
    n = int(counts.sum())
    if n == 0:
        return None
    value = subject.aggregate(values, counts)
    assert value is not None
    worth = independent_samples(samples, n, value if subject.quantile is not None else None)
    return Reading(_finite(value), n if worth is None else worth)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# What is comparable


def comparable(name: str, known: Sequence[Member], run: Run, window: int) -> list[Member]:
    """The newest members of the same kind as `run`, oldest first. BaselineError when there is none."""
    found = [each for each in known if each.fingerprint == run.fingerprint]
    if not found:
        nearest = min(reversed(known), key=lambda each: len(differences(each.fingerprint, run.fingerprint)))
        _same(f"{nearest.run} of the baseline {name!r}", nearest.fingerprint, run)
    return found[-window:]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What two fingerprints do not agree in: `load.users was 20 and is 50`."""
    old, new = _flat(before), _flat(after)
    return [
        f"{key} was {_quoted(old, key)} and is {_quoted(new, key)}"
        for key in sorted(old.keys() | new.keys())
        if key not in old or key not in new or old[key] != new[key]
    ]


def _same(what: str, fingerprint: Mapping[str, Any], run: Run) -> None:
    found = differences(fingerprint, run.fingerprint)
    if found:
        more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
        raise BaselineError(
            f"{run.id} cannot be compared with {what}: {'; '.join(found[:_MOST_TOLD])}{more}. "
            f"Only runs of the same work are compared: repeat it, or accept runs of this kind"
        )


def _flat(fingerprint: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in fingerprint.items():
        found |= _flat(value, f"{path}{key}.") if isinstance(value, dict) and value else {f"{path}{key}": value}
    return found


def _quoted(flat: Mapping[str, Any], key: str) -> str:
    return repr(flat[key]) if key in flat else "absent"


# Which runs are meant


def newest(store: Store) -> list[str]:
    """The newest run, with those of the series that it belongs to; oldest first. StoreError when there is none."""
    last = store.run()
    series = last.labels.get(SERIES)
    if series is None:
        return [last.id]
    return [run.id for run in store.runs() if run.labels.get(SERIES) == series]


def labelled(store: Store, labels: Mapping[str, str]) -> list[str]:
    """The finished runs that have all of these labels, oldest first. BaselineError when there is none."""
    found = [run for run in store.runs() if labels.items() <= run.labels.items() and run.status == "finished"]
    if not found:
        wanted = ", ".join(f"{name}={value}" for name, value in labels.items())
        raise BaselineError(f"{store.path}: no finished run has the label {wanted}")
    return [run.id for run in found]


# Two single runs


class Sight(NamedTuple):
    """One figure of two runs; `change` as in regression.Row."""

    subject: str
    unit: str
    before: float
    after: float
    change: float
    interval: Interval


def look(before: Judgement, after: Judgement) -> list[Sight]:
    """What two runs differ in, each figure with an interval that allows for the streams' scatter, not for the runs'."""
    found = []
    for name, old in before.metrics.items():
        if name in _OF_THE_INSTRUMENT:
            continue
        new = after.metrics[name]
        for q in ("p50", "p95"):
            one, two = old.quantiles[q], new.quantiles[q]
            if one and two:
                ends = _logs(old.intervals[q]), _logs(new.intervals[q])
                by = statistics.difference_interval((math.log(one), ends[0]), (math.log(two), ends[1]))
                interval = Interval(*(None if end is None else math.exp(end) for end in by))
                found.append(Sight(f"{q}({name})", old.unit, one, two, two / one, interval))
    for name, was in before.rates.items():
        now = after.rates[name]
        if RATES[name].unit == "ratio" and was.value is not None and now.value is not None:
            shares = [(each.value or 0.0, statistics.ratio_interval(each.hits or 0, each.n)) for each in (was, now)]
            by = statistics.difference_interval(*shares)
            found.append(Sight(name, "ratio", was.value, now.value, now.value - was.value, by))
    return found


def _logs(interval: Interval) -> Interval:
    return Interval(*(math.log(end) if end else None for end in interval))


# Keeping and handing on


def accept(store: Store, name: str, run_ids: Iterable[str]) -> int:
    """Add runs to a baseline; says how many are new. BaselineError for a run that proves nothing."""
    _proper(name)
    ids = [store.run(run_id).id for run_id in run_ids]
    for run_id in ids:
        if (fault := unfit(judge(store, run_id, rules=[]))) is not None:
            raise BaselineError(f"{run_id} cannot be accepted: {fault}")
    return store.accept(name, [Accepted(run_id, _now(), None) for run_id in ids])


def remove(store: Store, name: str, runs: Sequence[str]) -> tuple[int, int]:
    """Take runs out of a baseline, all of them where none is named; says how many went, and how many are left.

    Runs are named by their id or its beginning. BaselineError for one that is not, or not clearly, in the baseline.
    """
    _proper(name)
    there = list(members(store, name))
    chosen = [_member(there, run, name) for run in runs] or there
    gone = store.forget(name, chosen)
    return gone, len(there) - gone


def _member(there: Sequence[str], given: str, name: str) -> str:
    found = [given] if given in there else [run for run in there if run.startswith(given)]
    if len(found) != 1:
        many = f"begins more than one run: {', '.join(found[-_MOST_TOLD:])}" if found else "is not in it"
        raise BaselineError(f"the baseline {name!r}: {given!r} {many}; its newest is {there[-1]}")
    return found[0]


def fit(store: Store, run_ids: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Which runs can be accepted, and why the others cannot, by id. BaselineError where none can."""
    ids = list(run_ids)
    faults = {run_id: fault for run_id in ids if (fault := unfit(judge(store, run_id, rules=[]))) is not None}
    if len(faults) == len(ids):
        raise BaselineError(f"{ids[0]} cannot be accepted: {faults[ids[0]]}")
    return [run_id for run_id in ids if run_id not in faults], faults


def _proper(name: str) -> None:
    if not name.strip() or not name.isprintable():
        raise BaselineError(f"{name!r} is no name for a baseline: give it one of letters, as in main")
    if name.endswith(".json"):
        raise BaselineError(f"{name!r} is no name for a baseline: --baseline takes what ends in .json as a file")


def export(store: Store, name: str, settings: Regression) -> str:
    """A baseline as the text of a file, with the figures of the metrics that gate now."""
    known = members(store, name).values()
    runs = [msgspec.structs.replace(each, figures=figures_of(store, each, settings)) for each in known]
    head = msgspec.json.encode({"schema": SCHEMA, "name": name}).decode().removesuffix("}")
    lines = ",\n".join(msgspec.json.encode(each).decode() for each in runs)  # a line each: a diff shows what came
    return f'{head},"runs":[\n{lines}\n]}}\n'


def take(store: Store, path: str, name: str | None = None) -> tuple[str, int]:
    """Add the runs of a file to a baseline (None: of the name that it had); the name, and how many are new."""
    file = _read(path)
    name = file.name if name is None else name
    _proper(name)
    documents = [Accepted(each.run, _now(), msgspec.to_builtins(each)) for each in file.runs]
    return name, store.accept(name, documents)


def members(store: Store, name: str) -> dict[str, Member]:
    """The runs of a baseline by id, in the order of their acceptance. BaselineError when there is none of that name.

    `name` as in `gate`.
    """
    if name.endswith(".json"):
        return {each.run: each for each in _read(name).runs}
    there = store.accepted()
    if name not in there:
        raise BaselineError(
            f"{store.path}: no baseline called {name!r}; there are {', '.join(there) or 'none yet'}. "
            f"Begin one with `streamgauge baseline accept {store.path} --name {name}`"
        )
    found = {}
    for run_id, _, document in there[name]:
        if document is not None:
            found[run_id] = msgspec.convert(document, Member)
        else:
            run = store.run(run_id)
            found[run_id] = Member(
                run=run.id, started_at=run.started_at, fingerprint=run.fingerprint, labels=run.labels
            )
    return found


def _read(path: str) -> _File:
    """BaselineError for a file that is missing, broken, empty, or newer than we are."""
    try:
        data = Path(path).read_bytes()
        schema = msgspec.json.decode(data, type=dict[str, Any]).get("schema")
        if schema != SCHEMA:
            newer = isinstance(schema, str) and schema.startswith(SCHEMA.rpartition("/")[0])
            raise BaselineError(
                f"{path}: written by another version of streamgauge ({schema}); this one reads {SCHEMA}"
                if newer
                else f"{path}: no baseline; `streamgauge baseline export` writes one"
            )
        found = msgspec.json.decode(data, type=_File)
    except OSError as fault:
        raise BaselineError(f"{path}: cannot be read: {fault.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise BaselineError(f"{path}: no baseline, or a damaged one: {fault}") from None
    if not found.runs:
        raise BaselineError(f"{path}: the baseline {found.name!r} has no runs")
    if not all(text.isprintable() for text in (found.name, *(each.run for each in found.runs))):
        raise BaselineError(f"{path}: a name in it has characters that no name has")
    bare = next((each.run for each in found.runs if each.figures is None), None)
    if bare is not None:
        raise BaselineError(f"{path}: {bare!r} has no figures; `streamgauge baseline export` writes them")
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
