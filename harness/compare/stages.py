"""The two stages of `run --gate`: the first runs, then fresh runs if the first ones look worse than the baseline."""

from collections.abc import Callable, Sequence

from streamgauge.harness.compare.series import Series, Turn, turns
from streamgauge.harness.judge.compare import baseline, regression, stored_runs
from streamgauge.harness.judge.compare.comparison import Comparison
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.store import Store


def check(database: str, name: str) -> None:
    """BaselineError if there is no such baseline. Called before the runs, which take minutes."""
    with Store.create(database) as store:
        baseline.members(store, name)


def first(series: Series, first_turns: Sequence[Turn], name: str) -> bool:
    """Run the first stage, and return whether all of its runs are in the database.

    BaselineError after the first run if no run of the baseline did the same work.
    """
    series.run(first_turns[:1])
    if (ids := series.ids()) and not series.ended:
        with Store.open(series.work.options["db"]) as store:
            stored_runs.require_comparable(store, name, ids[0])
    series.run(first_turns[1:])
    return len(series.ids()) == len(first_turns)


def judge(series: Series, name: str, gate: Gate, say: Callable[[str], None]) -> Comparison:
    """Compare with the baseline. If it is suspicious, report that by `say`, run the second stage, and compare again."""
    compared = _compare(series, name, gate)
    count = len(series.ids())
    if not compared.wanted or count < regression.FIRST_RUNS:
        return compared
    say(f"{compared.reason}: running them now")
    series.run(turns(count + 1, compared.wanted))
    return _compare(series, name, gate)


def _compare(series: Series, name: str, gate: Gate) -> Comparison:
    with Store.open(series.work.options["db"]) as store:
        return stored_runs.with_baseline(store, name, series.ids(), gate)
