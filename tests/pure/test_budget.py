"""The budget of a run: what counts, when it is spent, and which budgets are mistakes."""

import math
from collections.abc import Callable

import pytest

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.schema import Prices
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.harness.run.budget import Budget, Most
from tests.support.record import observation

PRICES = Prices(input=2, output=10, cached_in_input=True)


def used(given: int | None, generated: int | None, **fields: object) -> StreamObservation:
    return observation(input_tokens=given, output_tokens=generated, **fields)  # type: ignore[arg-type]


def never(reason: str) -> bool:
    pytest.fail(reason)


def ends(said: list[str]) -> Callable[[str], bool]:
    """Ends the run, and keeps why."""

    def end(reason: str) -> bool:
        said.append(reason)
        return True

    return end


def test_tokens_are_input_and_output_together_and_the_end_comes_once() -> None:
    ended: list[str] = []
    budget = Budget(Most(tokens=100), PRICES, ends(ended))
    budget.add([used(40, 9), used(40, 10)])
    assert ended == []
    budget.add([used(0, 1)])
    budget.add([used(50, 50)])
    assert ended == ["the budget of 100 tokens was spent"]
    assert budget.facts()["budget"]["tokens"] == 200
    assert budget.facts()["budget"]["spent"] is True


def test_a_budget_that_is_spent_while_the_run_ends_for_another_reason_has_not_ended_it() -> None:
    budget = Budget(Most(tokens=100), PRICES, lambda _: False)
    budget.add([used(50, 50)])
    budget.add([used(50, 50)])
    assert budget.facts()["budget"]["tokens"] == 200
    assert budget.facts()["budget"]["spent"] is False


def test_cached_tokens_count_once() -> None:
    seen = used(100, 0, cache_read_tokens=30, cache_write_tokens=20, content_chunks=0)
    for included, tokens in ((True, 100), (False, 150)):
        budget = Budget(Most(tokens=1_000), Prices(input=0, output=0, cached_in_input=included), ends([]))
        budget.add([seen])
        assert budget.facts()["budget"]["tokens"] == tokens


def test_a_cost_ends_a_run_too() -> None:
    ended: list[str] = []
    budget = Budget(Most(cost=1.5), PRICES, ends(ended))
    budget.add([used(250_000, 99_999)])
    assert ended == []
    budget.add([used(0, 1)])
    assert ended == ["the budget of 1.5 USD was spent"]


def test_output_without_usage_counts_by_its_chunks() -> None:
    """Otherwise a budget would never be spent on a server that tells no usage, nor by people who leave."""
    budget = Budget(Most(tokens=9), PRICES, ends([]))
    budget.add([used(None, None), used(None, 1, outcome=Outcome.CANCELLED), used(None, 2)])
    assert budget.facts()["budget"]["tokens"] == 3 + 3 + 2
    assert budget.facts()["budget"]["counted_by_chunks"] == 2


def test_without_a_budget_nothing_is_stored_of_it() -> None:
    budget = Budget(Most(), PRICES, never)
    budget.add([used(10**12, 10**12)])
    assert budget.facts() == {}


@pytest.mark.parametrize(
    ("most", "said"),
    [
        (Most(tokens=0), "--max-tokens-spent: 0 is not a number of tokens"),
        (Most(tokens=-5), "--max-tokens-spent: -5 is not a number of tokens"),
        (Most(cost=math.nan), "--max-cost: nan is not an amount"),
        (Most(cost=0), "--max-cost: 0 is not an amount"),
        (Most(cost=-1), "--max-cost: -1 is not an amount"),
        (Most(cost=math.inf), "--max-cost: inf is not an amount"),
    ],
)
def test_a_budget_that_is_none_is_a_mistake(most: Most, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        most.check(PRICES)


def test_a_cost_needs_prices() -> None:
    with pytest.raises(ConfigError, match=r"--max-cost: what a token costs is unknown: write \[target\.prices\]"):
        Most(cost=1.0).check(None)


def test_a_budget_at_prices_of_zero_could_never_be_spent() -> None:
    for paid in (Prices(input=1, output=0), Prices(input=0, output=1), Prices(input=0, output=0, cache_read=1)):
        Most(cost=1.0).check(paid)
    with pytest.raises(ConfigError, match=r"all of \[target.prices\] is 0"):
        Most(cost=1.0).check(Prices(input=0, output=0))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("input = -3\noutput = 1", "target.prices.input: -3.0 is not a price"),
        ("input = 3\noutput = nan", "target.prices.output: nan is not a price"),
        ("input = 3\noutput = inf", "target.prices.output: inf is not a price"),
        ("input = 3\noutput = 1\ncache_read = -0.1", "target.prices.cache_read: -0.1 is not a price"),
        ("input = 3\noutput = 1\ncache_write = -1", "target.prices.cache_write: -1.0 is not a price"),
        ("input = 3\noutput = 1\ninputs = 1", "no key called 'inputs'"),
        ("input = 3", "the key 'output' is missing"),
        ("input = '3'\noutput = 1", "target.prices.input: expected a number, got a text in quotes"),
        ("input = 3\noutput = 1\ncurrency = '<b>'", "target.prices.currency: '<b>' is not a currency"),
        ("input = 3\noutput = 1\ncurrency = ''", "target.prices.currency: '' is not a currency"),
    ],
)
def test_a_wrong_price_is_a_mistake(table: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(f"[target.prices]\n{table}".encode())
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
