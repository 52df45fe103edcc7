"""Which levels a search visits, when a visit is over, and what the search then claims."""

import time
from collections.abc import Iterator

import numpy as np
import pytest

from streamgauge.harness.capacity import backlog
from streamgauge.harness.capacity.guards import Ended
from streamgauge.harness.capacity.path import Order, Purpose, Search, Visited
from streamgauge.harness.capacity.sequential import LOOKS, ROUNDS, Outcome, Visit, effective
from streamgauge.harness.capacity.streams import Batch, Limit
from streamgauge.harness.capacity.units import Unit
from streamgauge.harness.capacity.visiting import Heard
from streamgauge.harness.capacity.window import less_open
from streamgauge.harness.judge.store.rows import VitalSeries
from tests.support.simulated_capacity import LIMITS, Level, World, of_one_limit, search

STEEP = World(slope=2000)  # none bad up to the knee, all beyond it
STRICT = Limit(0.01, ("error_rate < 1%",))


def after(
    users: int, shares: list[float], limits: tuple[Limit, ...] = LIMITS, most: int = 10**5
) -> tuple[Visit, Outcome]:
    """A visit to these streams, of which these shares are bad by each limit, one after another."""
    visit, rng = Visit(ROUNDS * users, limits), np.random.default_rng(7)
    outcome = None
    while outcome is None and visit.streams < most:
        chance = rng.random(65)
        bad = np.array([chance < share for share in shares])
        outcome = visit.after(Batch(bad, np.ones_like(bad), 1 - chance), limits)
    assert outcome is not None
    return visit, outcome


@pytest.mark.parametrize(("share", "outcome"), [(0.0, Outcome.PASSED), (0.5, Outcome.MISSED), (1.0, Outcome.MISSED)])
def test_a_level_far_from_the_knee_is_clear_at_the_first_look_or_the_second(share: float, outcome: Outcome) -> None:
    visit, found = after(4, [share])
    assert found is outcome
    assert visit.streams <= 2 * LOOKS[1]


def test_a_level_at_the_knee_stays_undecided_and_ends() -> None:
    visit, found = after(4, [0.05])
    assert found is Outcome.UNDECIDED
    assert visit.streams <= 2 * LOOKS[-1]


def test_a_strict_limit_takes_as_many_more_streams_as_it_is_stricter() -> None:
    visit, found = after(4, [0.0], (STRICT,))
    assert found is Outcome.PASSED
    assert visit.streams >= 5 * LOOKS[0]


def test_one_limit_that_is_broken_makes_the_visit_missed() -> None:
    _, found = after(4, [0.3, 0.0], (STRICT, *LIMITS))
    assert found is Outcome.MISSED


def test_every_user_is_heard_more_than_once() -> None:
    visit, found = after(1000, [0.0])
    assert found is Outcome.PASSED
    assert visit.streams >= ROUNDS * 1000


def test_streams_that_are_alike_count_for_fewer() -> None:
    independent = np.random.default_rng(1).random(1600)
    assert effective(independent, 0.05) > 1000
    assert effective(np.repeat(independent[:80], 20), 0.05) < 200
    assert effective(np.full(1600, np.inf), 0.05) == 1600, "all failed: no luck is in that"


def test_a_search_halves_the_bracket_and_comes_back_to_what_it_passed() -> None:
    found = search(STEEP.level(40.5, 1))
    levels = [visit.users for visit in found.visits]
    assert levels[:5] == [4, 8, 16, 32, 64]
    assert found.passed is not None
    assert found.not_passed is not None
    assert found.not_passed <= 1.10 * found.passed
    fresh = [visit.users for visit in found.visits if visit.order.purpose is Purpose.CONFIRM]
    assert len(fresh) >= 8
    assert fresh.count(found.passed) >= 2
    assert found.proven == found.passed <= 40


def test_where_the_server_gives_way_at_once_the_interval_is_what_was_visited() -> None:
    found = search(STEEP.level(40.5, 1))
    knee = found.knee()
    assert knee is not None
    assert (knee.low, knee.high) == (found.passed, found.not_passed)
    assert knee.low <= knee.at <= knee.high


def test_a_server_that_holds_nobody_proves_nothing() -> None:
    found = search(STEEP.level(0.5, 1))
    assert [visit.users for visit in found.visits] == [4, 2, 1]
    assert found.proven is None
    assert found.knee() is None


def test_no_level_is_below_the_least() -> None:
    found = Search(LIMITS, 6000, first=60, least=15)
    levels = []
    while (order := found.next()) is not None:
        levels.append(order.users)
        found.visits.append(visited(order.users, Purpose.CLIMB, Outcome.MISSED))
    assert levels == [60, 30, 15]


@pytest.mark.parametrize("seed", [10, 15, 17, 21])
def test_no_fresh_visit_around_a_knee_near_the_least_is_below_it(seed: int) -> None:
    level = World(slope=3, luck=0.8, alike=0.3).level(15, seed)
    found = Search(LIMITS, 6000, first=60, least=15)
    while (order := found.next()) is not None:
        visit, among = Visit(ROUNDS * order.users, LIMITS, order.rigour), order.among(LIMITS)
        outcome = next(filter(None, (visit.after(batch, among) for batch in level(order.users))))
        found.visits.append(Visited(order, outcome, visit.counts()))
    assert min(visit.users for visit in found.visits) == 15


@pytest.mark.parametrize("most", [1, 3, 20])
def test_no_level_is_above_the_most_that_was_allowed(most: int) -> None:
    found = search(STEEP.level(1000, 1), most=most)
    assert max(visit.users for visit in found.visits) == most
    assert found.proven == most
    assert found.knee() is None, "it is above"


def test_a_level_that_is_asked_for_is_visited() -> None:
    found = Search(LIMITS, 1000, at_least=50)
    for users in (32, 64):
        found.visits.append(visited(users, Purpose.CLIMB, Outcome.PASSED if users < 64 else Outcome.MISSED))
    order = found.next()
    assert order is not None
    assert order.users == 50


def visited(users: int, purpose: Purpose, outcome: Outcome, generator: str = "") -> Visited:
    return Visited(Order(users, purpose), outcome, Visit(ROUNDS * users, LIMITS).counts(), generator)


def test_a_fresh_visit_that_is_missed_takes_the_level_back() -> None:
    found = Search(LIMITS, 1000)
    found.visits += [visited(8, Purpose.CLIMB, Outcome.PASSED), visited(16, Purpose.CLIMB, Outcome.MISSED)]
    found.visits += [visited(15, Purpose.BISECT, Outcome.PASSED)]
    assert (found.passed, found.proven) == (15, 15)
    found.visits += [visited(15, Purpose.CONFIRM, Outcome.MISSED)]
    assert (found.passed, found.proven) == (8, None), "the way up proves nothing"
    order = found.next()
    assert order is not None
    assert (order.users, order.cool_down) == (11, True)


def test_a_level_that_the_generator_spoilt_is_visited_again_and_counts_only_after_three_times() -> None:
    spoilt = visited(16, Purpose.CLIMB, Outcome.MISSED, "the generator sent late")
    found = Search(LIMITS, 1000)
    found.visits.append(visited(8, Purpose.CLIMB, Outcome.PASSED))
    for _ in range(2):
        found.visits.append(spoilt)
        order = found.next()
        assert order is not None
        assert (order.users, order.cool_down, found.not_passed) == (16, True, None)
    found.visits.append(visited(16, Purpose.CLIMB, Outcome.PASSED))
    assert (found.passed, found.not_passed) == (16, None), "a late generator makes no wait shorter"
    found.visits[-1:] = [spoilt]
    assert (found.passed, found.not_passed) == (8, 16)


@pytest.mark.parametrize("users", [15, 16])
def test_a_fresh_visit_that_was_spoilt_is_repeated_a_few_times_at_most(users: int) -> None:
    found = Search(LIMITS, 1000)
    found.visits += [visited(8, Purpose.CLIMB, Outcome.PASSED), visited(16, Purpose.CLIMB, Outcome.MISSED)]
    found.visits.append(visited(15, Purpose.BISECT, Outcome.PASSED))
    repeated = 0
    while (order := found.next()) is not None and order.users >= 15:
        spoilt = "the generator sent late" if order.users == users else ""
        outcome = Outcome.MISSED if spoilt or order.users > 15 else Outcome.PASSED
        found.visits.append(visited(order.users, order.purpose, outcome, spoilt))
        repeated += found.is_to_be_repeated
        assert len(found.visits) < 60
    assert repeated >= 2


def test_a_level_that_was_only_climbed_is_no_proof_of_a_strict_limit() -> None:
    limits = (STRICT, *LIMITS)
    found = Search(limits, 4)
    found.visits.append(visited(4, Purpose.CLIMB, Outcome.PASSED))
    assert (found.passed, found.proven) == (4, None)
    order = found.next()
    assert order is not None
    assert order.purpose is Purpose.BISECT
    assert order.among(limits) == limits
    found.visits.append(visited(4, Purpose.BISECT, Outcome.UNDECIDED))
    assert (found.passed, found.proven) == (None, None)


def test_a_sweep_visits_its_levels_and_no_others() -> None:
    found = search(STEEP.level(40.5, 1), ladder=(10, 20, 50, 100))
    assert [visit.users for visit in found.visits] == [10, 20, 50, 100]
    assert (found.proven, found.not_passed) == (20, 50)
    knee = found.knee()
    assert knee is not None
    assert 20 <= knee.low <= knee.at <= knee.high <= 50


def test_a_backlog_grows_only_if_it_rises_beyond_chance() -> None:
    rng, seconds = np.random.default_rng(3), np.arange(30.0)
    assert not any(backlog.grows(seconds, rng.poisson(20, 30).astype(float), 20.0) for _ in range(200))
    walks = [
        backlog.grows(seconds, 100.0 + (rng.poisson(20, 30) - rng.poisson(20, 30)).cumsum(), 20.0) for _ in range(400)
    ]
    assert sum(walks) <= 2, "at full load the open streams are a random walk"
    assert backlog.grows(seconds, 20 + 10 * seconds + rng.normal(0, 3, 30), 20.0), "twice what is answered"
    assert not backlog.grows(seconds[:9], 100 * seconds[:9], 20.0), "a few samples"
    assert not backlog.grows(seconds, 40 - seconds, 20.0), "it shrinks"


def test_an_open_load_is_watched_until_a_load_slightly_too_high_would_show() -> None:
    assert [backlog.watched(wait) for wait in (0.5, 2.0, 30.0, None)] == [10.0, 20.0, 60.0, 60.0]
    visit = Visit(300, LIMITS)
    good, bad = (of_one_limit(np.full(140, each), np.full(140, float(each))) for each in (False, True))
    assert visit.after(good, LIMITS) is None, "130 streams would be enough of them, but not of the time"
    assert visit.after(bad, LIMITS) is None
    assert visit.after(bad, LIMITS) is Outcome.MISSED
    assert Visit(300, LIMITS).after(bad, LIMITS) is Outcome.MISSED, "all are bad: that is clear at once"


def test_the_way_up_goes_on_after_a_few_good_streams_and_proves_nothing() -> None:
    found = Search(LIMITS, 1000)
    order = found.next()
    assert order is not None
    visit = Visit(12, LIMITS, order.rigour)
    assert visit.after(of_one_limit(np.zeros(46, bool), np.zeros(46)), LIMITS) is Outcome.PASSED
    found.visits.append(Visited(order, Outcome.PASSED, visit.counts()))
    assert found.proven is None


def test_a_rate_is_counted_per_minute_and_told_per_second() -> None:
    assert Unit.RATE.amount(750) == "12.5 streams per second"
    assert (Unit.USERS.amount(84), Unit.USERS.plain(6.62), Unit.USERS.plain(90.2)) == ("84 users", "6.6", "90")


def test_each_level_is_left_as_soon_as_it_is_clear() -> None:
    asked: list[int] = []

    def level(users: int) -> Iterator[Batch]:
        for batch in STEEP.level(5.5, 1)(users):
            asked.append(users)
            yield batch

    counted: Level = level
    search(counted)
    assert asked.count(8) <= 4


def opened(*samples: float, worker: str = "local") -> VitalSeries:
    return VitalSeries(
        [worker] * len(samples), np.arange(len(samples), dtype=np.float64), np.array(samples, np.float64)
    )


def test_users_whom_a_late_generator_keeps_waiting_prove_nothing() -> None:
    told = less_open(opened(24, 23, 24, 24, 24), 24, 17.6)
    assert told.startswith("the generator kept users waiting: of 23.8 streams that were to be open at once")
    assert not less_open(opened(24, 23, 24, 24, 24), 24, 22.0), "levels are as far apart"
    assert not less_open(opened(9, 1, 12, 4, 3), 40, 4.5), "people think: one sample says little"
    assert less_open(opened(20), 20, 15.0), "all of many users have one open"
    assert not less_open(opened(3), 3, 2.0)
    assert not less_open(opened(), 20, 15.0)


def test_a_visit_of_which_no_stream_tells_anything_of_a_limit_is_blind() -> None:
    visit = Visit(0, LIMITS)
    untold = Batch(np.zeros((1, 260), bool), np.zeros((1, 260), bool), np.zeros(260))
    assert [(visit.after(untold, LIMITS), visit.is_blind) for _ in range(2)] == [(None, False), (None, True)]


def test_a_run_that_stores_nothing_any_more_ends_the_search() -> None:
    now = time.monotonic()
    assert Heard(5e9, now - 60, now).after({"local": 6e9}).since >= now, "a full disk would stop these figures"
    assert Heard(5e9, now - 5, now).after({"local": 5e9}).since == now - 5
    with pytest.raises(Ended, match="the run has stored nothing for 20 s"):
        Heard(5e9, now - 21, now).after({"local": 5e9})
    with pytest.raises(Ended, match="nothing has come from worker-1 for 20 s: that process was killed"):
        Heard(5e9, now - 21, now).after({"worker-0": 26e9, "worker-1": 5e9})
