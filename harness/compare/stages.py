"""The gate of `run --gate`, in two stages: some runs, and fresh ones if those look worse than the baseline."""

from collections.abc import Callable, Sequence

from streamgauge.harness.compare.series import Series, Turn, turns
from streamgauge.harness.judge.compare import baseline, regression, stored_runs
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.store import Store


def check(database: str, name: str) -> None:
    """BaselineError if there is no such baseline: now, not after minutes of runs."""
    with Store.create(database) as store:
        baseline.members(store, name)


def first(series: Series, each: Sequence[Turn], name: str) -> bool:
    """Run the first stage; whether all of its runs are in the database.

    BaselineError if the first run shows that the baseline is of other work.
    """
    series.run(each[:1])
    if (ids := series.ids()) and not series.ended:
        with Store.open(series.work.options["db"]) as store:
            stored_runs.require_comparable(store, name, ids[0])
    series.run(each[1:])
    return len(series.ids()) == len(each)


def judge(series: Series, name: str, gate: Gate, say: Callable[[str], None]) -> Comparison:
    """Compare with the baseline; if that is suspicious, `say` so, run the second stage and compare again."""
    found = _compare(series, name, gate)
    count = len(series.ids())
    if not found.wanted or count < regression.FIRST_RUNS:
        return found
    say(f"{found.reason}: running them now")
    series.run(turns(count + 1, found.wanted))
    return _compare(series, name, gate)


def _compare(series: Series, name: str, gate: Gate) -> Comparison:
    with Store.open(series.work.options["db"]) as store:
        return stored_runs.with_baseline(store, name, series.ids(), gate)
