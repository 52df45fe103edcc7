"""The two stages of `run --gate`: the first runs, until they are clear, then fresh runs if these look worse."""

from collections.abc import Callable, Sequence

from streamgauge.harness.compare.series import Series, Turn, turns
from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus
from streamgauge.harness.judge.compare.stored_runs import Against
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.store import Store


def check(database: str, against: Against) -> None:
    """BaselineError if there is no such baseline. Called before the runs, which take minutes."""
    with Store.create(database) as store:
        against.members(store)


def first(series: Series, first_turns: Sequence[Turn], against: Against) -> bool:
    """Run the first stage with all of these turns, and return whether all of their runs are in the database.

    BaselineError after the first run if no run of the baseline did the same work.
    """
    series.run(first_turns[:1])
    if (ids := series.ids()) and not series.ended:
        with Store.open(series.work.options["db"]) as store:
            against.require_comparable(store, ids[0])
    series.run(first_turns[1:])
    return len(series.ids()) == len(first_turns)


def first_until_clear(
    series: Series, first_turns: Sequence[Turn], against: Against, say: Callable[[str], None]
) -> bool:
    """As `first`, but the stage ends early if its runs are clear, which `say` reports."""
    complete = first(series, first_turns[:1], against)
    for count, turn in enumerate(first_turns[1:], 1):
        if not complete or series.ended:
            return complete
        compared = _compare(series, against)
        if compared.is_clear:
            if compared.status is not GateStatus.INVALID:
                say(f"clear after {some(count, 'run')} of {len(first_turns)}")
            return True
        series.run([turn])
        complete = len(series.ids()) == count + 1
    return complete


def judge(series: Series, against: Against, say: Callable[[str], None]) -> Comparison:
    """Compare with the baseline. If it is suspicious, report that by `say`, run the second stage, and compare again."""
    compared = _compare(series, against)
    if not compared.wanted or not compared.is_clear:
        return compared
    say(f"{compared.reason}: running them now")
    series.run(turns(len(series.ids()) + 1, compared.wanted))
    return _compare(series, against)


def _compare(series: Series, against: Against) -> Comparison:
    with Store.open(series.work.options["db"]) as store:
        return against.compare(store, series.ids())
