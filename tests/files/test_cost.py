"""What a run cost, what is missing from it, and where it is told."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from streamgauge.harness.cli import main
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.errors import DamagedRow
from streamgauge.harness.judge.compare import history
from streamgauge.harness.judge.outputs import history_csv, markdown, terminal, terminal_tables
from streamgauge.harness.judge.outputs import json as document
from streamgauge.harness.judge.outputs.rich_text import without_colour
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.judge.verdict.rules import parse_all
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports import trend
from streamgauge.reports.material import gather
from streamgauge.reports.panels import verdict
from tests.support.record import a_run, database, new_store, observation

PRICES = {"input": 3.0, "output": 15.0, "cache_read": 0.3, "cache_write": 3.75, "currency": "EUR"}
MILLION = 1_000_000


def judged(path: Path, streams: list[StreamObservation], prices: dict[str, Any] | None = None, **run: Any) -> Judgement:
    config = {} if prices is None else {"prices": prices}
    with Store.open(database(path, streams, config=config, **run)) as store:
        return judge(store, rules=[])


def used(given: int | None, generated: int | None, **fields: Any) -> StreamObservation:
    return observation(input_tokens=given, output_tokens=generated, **fields)


def total(path: Path, streams: list[StreamObservation], prices: dict[str, Any]) -> float:
    cost = judged(path, streams, prices).cost
    assert cost is not None
    assert cost.total is not None
    return cost.total


def test_input_that_excludes_the_cached_is_priced_beside_it(tmp_path: Path) -> None:
    seen = used(MILLION, MILLION, cache_read_tokens=MILLION, cache_write_tokens=MILLION)
    assert total(tmp_path / "one.db", [seen], {**PRICES, "cached_in_input": False}) == 3 + 15 + 0.3 + 3.75


def test_cached_tokens_are_taken_out_of_an_input_that_includes_them(tmp_path: Path) -> None:
    seen = used(5 * MILLION, MILLION, cache_read_tokens=MILLION, cache_write_tokens=MILLION)
    prices = {**PRICES, "cached_in_input": True}
    assert total(tmp_path / "one.db", [seen], prices) == pytest.approx(3 * 3 + 15 + 0.3 + 3.75)


def test_more_cached_tokens_than_input_lower_no_other_streams_cost(tmp_path: Path) -> None:
    """As a gateway reports them that has another model's protocol for one of its servers."""
    streams = [used(MILLION, 0), used(0, 0, cache_read_tokens=MILLION), used(None, None, cache_read_tokens=MILLION)]
    cost = judged(tmp_path / "one.db", streams, {**PRICES, "cached_in_input": True}).cost
    assert cost is not None
    assert cost.total == pytest.approx(3 + 2 * 0.3)
    assert (cost.silent, cost.partial) == (0, 1)


def test_an_answer_that_resumed_is_said_to_count_twice_where_it_was_told_twice(tmp_path: Path) -> None:
    """Anthropic tells the input at the beginning of an answer, and again at its end."""
    streams = [used(MILLION, 1, outcome=Outcome.RESET), used(MILLION, 9, resumed_from="req_1:4", resume_gap=1)]
    shown = terminal.text(judged(tmp_path / "one.db", streams, {"input": 1, "output": 0}), 200)
    assert "cost: 2 USD" in shown
    assert "1 of 2 streams resumed an answer: what the server reported of it twice counts twice" in " ".join(
        shown.split()
    )


def test_no_price_and_no_number_of_tokens_makes_a_cost_infinite(tmp_path: Path) -> None:
    streams = [used(2**53 - 1, 2**53 - 1)] * 3
    found = judged(tmp_path / "one.db", streams, {"input": 1e12, "output": 1e12})
    assert "cost: 5.404e+22 USD, 1.801e+25 USD per 1,000 answers" in terminal.text(found, 200)
    with pytest.raises(DamagedRow, match=r"prices.input: 1\d+.0 is not a price"):
        judged(tmp_path / "two.db", streams, {"input": 1e13, "output": 0})


def test_cached_tokens_without_a_price_of_their_own_cost_as_much_as_others(tmp_path: Path) -> None:
    seen = used(MILLION, 0, cache_read_tokens=MILLION, cache_write_tokens=MILLION)
    assert total(tmp_path / "one.db", [seen], {"input": 2, "output": 9, "cached_in_input": False}) == 6


def test_cancelled_and_failed_streams_cost_and_refused_ones_do_not(tmp_path: Path) -> None:
    streams = [
        used(MILLION, MILLION),
        used(MILLION, 1, outcome=Outcome.CANCELLED),
        used(MILLION, 1, outcome=Outcome.TRUNCATED),
        observation([], outcome=Outcome.REFUSED, ended=1),
        observation([], outcome=Outcome.UNREACHABLE, ended=1, sent_at=None),
    ]
    cost = judged(tmp_path / "one.db", streams, {"input": 1, "output": 10}).cost
    assert cost is not None
    assert cost.total == pytest.approx(13 + 20 / MILLION)
    assert cost.per_thousand == pytest.approx(13_000 + 20_000 / MILLION)
    assert (cost.streams, cost.silent, cost.partial) == (3, 0, 2)


def test_streams_without_usage_are_told_and_not_guessed(tmp_path: Path) -> None:
    streams = [*[used(MILLION, 0)] * 18, *[used(None, None)] * 2]
    shown = terminal.text(judged(tmp_path / "one.db", streams, PRICES), 200)
    assert "cost: 54.00 EUR, 3,000.00 EUR per 1,000 answers" not in shown, "all 20 answers are answers"
    assert (
        "cost: 54.00 EUR, 2,700.00 EUR per 1,000 answers; 2 of 20 streams reported no usage: not in the cost" in shown
    )


def test_a_run_that_told_no_usage_has_no_cost_rather_than_none(tmp_path: Path) -> None:
    found = judged(tmp_path / "one.db", [used(None, None)] * 3, PRICES)
    assert "cost: –; 3 of 3 streams reported no usage: not in the cost" in terminal.text(found, 200)
    assert document.document(found)["cost"]["total"] is None


def test_without_prices_nothing_is_told_of_cost(tmp_path: Path) -> None:
    found = judged(tmp_path / "one.db", [used(5, 5)])
    assert found.cost is None
    assert "cost" not in terminal.text(found)
    assert document.document(found)["cost"] is None


def test_every_output_tells_the_cost(tmp_path: Path) -> None:
    path = tmp_path / "one.db"
    found = judged(path, [used(1_000, 100)] * 4, PRICES)
    assert json.loads(document.render(found))["cost"] == {
        "currency": "EUR",
        "total": pytest.approx(0.018),
        "per_thousand_answers": pytest.approx(4.5),
        "streams": 4,
        "without_usage": 0,
        "with_partial_usage": 0,
        "resumed": 0,
        "warm_up": None,
    }
    assert "Cost: 0.018 EUR" in markdown.render(found).replace("\\", "")
    with Store.open(path) as store:
        facts = {fact.name: fact for fact in verdict.draw(gather(store)).facts}
        seen = history.read(store)
    assert (facts["Cost"].value, facts["Cost"].doubt) == ("0.018 EUR", "4.5 EUR per 1,000 answers")
    (row,) = csv.DictReader(io.StringIO(history_csv.render(seen)))
    assert float(row["cost"]) == pytest.approx(0.018)
    assert (row["currency"], row["streams_without_usage"]) == ("EUR", "0")
    assert "0.018 EUR" in without_colour(lambda console: terminal_tables.render_history(seen, console), 200)
    assert "4.5 EUR" in trend.render(seen)


def test_a_history_without_prices_has_the_columns_that_it_always_had(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "one.db", [used(5, 5)])) as store:
        assert history_csv.render(history.read(store)).splitlines()[0].endswith("baselines,change,change_p50,release")


def test_what_a_warm_up_cost_is_told_beside_the_cost(tmp_path: Path) -> None:
    streams = [used(MILLION, 0), used(MILLION, 0, due=6_000)]
    found = judged(tmp_path / "one.db", streams, PRICES, measured_from=5 * 10**9)
    assert found.cost is not None
    assert found.cost.total == 3
    assert "cost: 3 EUR, 3,000.00 EUR per 1,000 answers; the warm-up cost 3 EUR more" in terminal.text(found, 200)
    assert document.document(found)["cost"]["warm_up"] == 3
    with Store.open(tmp_path / "one.db") as store:
        facts = {fact.name: fact.doubt for fact in verdict.draw(gather(store)).facts}
    assert facts["Cost"] == "3,000.00 EUR per 1,000 answers; the warm-up cost 3 EUR more"


@pytest.mark.parametrize("prices", [{"input": -1, "output": 1}, {"input": "a", "output": 1}, {"output": 1}, 7])
def test_prices_that_no_config_has_are_a_damaged_row(tmp_path: Path, prices: Any) -> None:
    with pytest.raises(DamagedRow, match="runs, row 1, column config"):
        judged(tmp_path / "one.db", [used(5, 5)], prices)


def ended_by_its_budget(path: Path, *rules: str, status: str = "aborted", spent: bool = True) -> Judgement:
    with new_store(path) as store:
        run = a_run()
        store.start_run(run)
        store.append(run.id, [used(5, 5)] * 100)
        facts = {"aborted": "the budget of 900 tokens was spent after 3 s", "budget": {"spent": spent, "tokens": 1_000}}
        store.finish_run(run.id, ended_ns=3 * 10**9, status=status, instrument=facts)  # type: ignore[arg-type]
    ended = CliRunner().invoke(main, ["judge", str(path), "--config", str(rules_file(path, rules))])
    assert ended.exit_code in {1, 3}, ended.output
    with Store.open(path) as store:
        return judge(store, rules=rules_of(rules))


def rules_of(rules: tuple[str, ...]) -> Any:
    return parse_all([Sla(rule=rule) for rule in rules])


def rules_file(path: Path, rules: tuple[str, ...]) -> Path:
    file = path.with_suffix(".toml")
    file.write_text("".join(f'[[sla]]\nrule = "{rule}"\n' for rule in rules))
    return file


def test_a_run_that_was_ended_by_its_budget_is_never_met(tmp_path: Path) -> None:
    found = ended_by_its_budget(tmp_path / "met.db", "p50(ttft) < 10s")
    assert [rule.status.value for rule in found.verdicts] == ["met"]
    assert (found.verdict, found.reason) == (
        "inconclusive",
        "the run was ended early: the budget of 900 tokens was spent after 3 s",
    )
    assert ended_by_its_budget(tmp_path / "missed.db", "p50(ttft) < 1ms").verdict == "missed"
    assert ended_by_its_budget(tmp_path / "rule.db", "p50(ttft) < 10s", spent=False).verdict == "missed"
