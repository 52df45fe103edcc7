"""The tokens that probes may spend a day: no 24 hours spend more, however often the prober is started anew."""

from random import Random

import pytest

from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.run.allowance import Allowance, Spent, most_of, output_limit
from tests.support.late import Late
from tests.support.record import observation

probing = Late("streamgauge.harness.run.probing")

DAY = 86_400
PER_DAY = 10_000


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({"max_tokens": 32}, 32),
        ({"max_tokens": 32, "max_completion_tokens": 4_000}, 4_000),
        ({"generationConfig": {"maxOutputTokens": 100, "candidateCount": 3}}, 300),
        ({"options": {"num_predict": 64}}, 64),
        ({"options": {"num_predict": -1}}, None),  # Ollama: without a limit
        ([{"n": 4, "max_tokens": 10}, {"max_new_tokens": "50"}], 200),  # a body and a query
        ({"tools": [{"parameters": {"max_tokens": {"type": "integer"}}}], "max_tokens": 9}, 9),
        ({"messages": []}, None),
    ],
)
def test_the_longest_answer_is_what_the_request_allows(body: object, limit: int | None) -> None:
    assert output_limit(body) == limit


def test_no_day_spends_more_and_the_budget_lasts_all_day_long() -> None:
    random, spent = Random(5), [Spent(0.0, 0)]
    allowance = Allowance(PER_DAY, [], 0.0)
    for second in range(0, 5 * DAY, 60):
        if random.random() < 0.01:  # a new process, that knows only what the last day's streams told
            allowance = Allowance(PER_DAY, [each for each in spent if each.at > second - DAY], second)
        if allowance.reserve(100, second, second):
            used = random.choice((100, 40, 10))
            seen = observation(sequence=second, input_tokens=5, output_tokens=used - 5)
            allowance.settle(seen, cached_in_input=True)
            spent.append(Spent(second, used))
    for first in range(0, 4 * DAY, 3_600):
        inside = [each for each in spent if first < each.at <= first + DAY]
        assert sum(each.tokens for each in inside) <= PER_DAY
    last = [each for each in spent if each.at > 4 * DAY]
    assert sum(each.tokens for each in last) > 0.7 * PER_DAY
    hours = {int(each.at // 3_600) for each in last}
    assert len(hours) == 24, "left out now and then, and not for the rest of the day"


def test_what_two_streams_could_spend_at_once_is_reserved_for_both() -> None:
    allowance = Allowance(PER_DAY, [], 0.0)
    assert [allowance.reserve(1_000, 0, stream) for stream in range(3)] == [True, True, False]
    allowance.settle(observation(sequence=1, input_tokens=50, output_tokens=50), cached_in_input=True)
    assert allowance.reserve(1_000, 0, 3)


def test_each_stream_gets_back_what_was_reserved_for_it() -> None:
    allowance = Allowance(PER_DAY, [], 0.0)
    assert allowance.reserve(1_000, 0, 1)
    assert allowance.reserve(100, 0, 2)
    allowance.settle(observation(sequence=2, input_tokens=10, output_tokens=10), cached_in_input=True)
    allowance.settle(observation(sequence=1, outcome=Outcome.TIMED_OUT), cached_in_input=True)
    left = 2_500 - 1_000 - 20
    assert allowance.reserve(left, 0, 3)
    assert not allowance.reserve(1, 0, 4)


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"input_tokens": 30, "output_tokens": 20}, 2_450),
        ({"input_tokens": 30, "output_tokens": 20, "cache_read_tokens": 100}, 2_350),
        ({"input_tokens": None, "output_tokens": 20}, 2_000),  # what is not told counts as what was reserved
        ({"input_tokens": 30, "output_tokens": 20, "outcome": Outcome.TRUNCATED}, 2_000),
        ({"input_tokens": 30, "output_tokens": 900}, 1_570),  # more than it was allowed to generate
        ({"outcome": Outcome.REFUSED}, 2_500),
    ],
)
def test_what_a_stream_did_not_spend_goes_back(fields: dict[str, object], left: int) -> None:
    allowance = Allowance(PER_DAY, [], 0.0)
    assert allowance.reserve(500, 0, 1)
    allowance.settle(observation(sequence=1, **fields), cached_in_input=False)  # type: ignore[arg-type]
    assert allowance.reserve(left, 0, 2)
    assert not allowance.reserve(1, 0, 3)


def test_a_question_s_tokens_are_never_guessed_too_low() -> None:
    assert most_of(b"Name three rivers." * 100, 32) >= 400 + 32
    assert most_of("日本の川を三つ挙げてください。".encode(), 32) >= 15 + 32
