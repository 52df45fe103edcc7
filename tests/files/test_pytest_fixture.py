"""Comparisons of the pytest fixture's figures with limits."""

import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamgauge.harness.errors import RuleError
from streamgauge.harness.record.observation import Outcome
from streamgauge.harness.testing.measured import Run
from streamgauge.harness.testing.plugin import pytest_assertrepr_compare
from tests.support.record import database, observation, ttfts

GOOD = ttfts(range(100, 400), output_tokens=3)
REFUSED = [observation([], outcome=Outcome.REFUSED, ended=2)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(database(tmp_path / "one.db", GOOD), tmp_path / "report.html", 0)


def test_a_comparison_is_true_only_if_the_rule_is_met(run: Run) -> None:
    assert run.p95("ttft") < 0.5  # seconds
    assert run.p95("ttft") <= 0.5
    assert run.p95("ttft") > 0.3
    assert run.p95("ttft") >= 0.3
    assert not run.p95("ttft") < 0.3
    assert run.rate("completion_rate") > 0.9
    assert run.rate("output_tps") > 10
    assert run.measured("max(ttft)") < 0.4


def test_a_run_without_errors_keeps_its_error_rate(run: Run, tmp_path: Path) -> None:
    assert run.rate("error_rate") < 0.05
    assert not run.rate("error_rate") < 0.01, "300 streams without an error do not show 1 %, and say so"
    enough = Run(database(tmp_path / "enough.db", GOOD * 2), tmp_path / "report.html", 0)
    assert enough.rate("error_rate") < 0.01
    assert not enough.rate("error_rate") > 0


def test_the_example_of_the_guide_holds_on_a_good_run(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/ci.md").read_text()
    example = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    found: dict[str, Any] = {}
    exec(example, found)
    streams = ttfts(range(100, 700), output_tokens=3, network="slow_4g")
    good = Run(database(tmp_path / "good.db", streams), tmp_path / "report.html", 0)
    found["test_chat_sla"](SimpleNamespace(run=lambda *_, **__: good))
    slow = Run(database(tmp_path / "slow.db", ttfts([2_000] * 600, network="slow_4g")), tmp_path / "report.html", 0)
    with pytest.raises(AssertionError):
        found["test_chat_sla"](SimpleNamespace(run=lambda *_, **__: slow))


def test_with_too_few_samples_no_comparison_is_true(run: Run, tmp_path: Path) -> None:
    assert not run.p95("ttft") < 0.386, "it is 384 ms, give or take 8"
    assert not run.p95("ttft") >= 0.386
    few = Run(database(tmp_path / "few.db", GOOD[:20]), tmp_path, 0)
    assert not few.p95("ttft") < 60
    invalid = Run(database(tmp_path / "bad.db", [observation(reads=100, saturated_reads=21)] * 100), tmp_path, 3)
    assert invalid.verdict == "invalid"
    assert not invalid.p50("ttft") < 60


def test_a_comparison_reads_the_same_from_both_sides(run: Run) -> None:
    assert 0.5 > run.p95("ttft")  # noqa: SIM300 - that is the point
    assert not 0.386 > run.p95("ttft")  # noqa: SIM300
    assert not 0.386 <= run.p95("ttft")  # noqa: SIM300


def test_an_explain_method_of_another_class_is_not_called(run: Run) -> None:
    query = SimpleNamespace(explain=lambda *_: pytest.fail("asked"))
    assert pytest_assertrepr_compare("==", query, query) is None
    assert pytest_assertrepr_compare("==", 1, query) is None
    assert pytest_assertrepr_compare("<", run.p95("ttft"), 0.1)


def test_figures_are_numbers_in_seconds_and_failures_are_infinite(run: Run, tmp_path: Path) -> None:
    assert float(run.p50("ttft")) == pytest.approx(0.249)
    assert repr(run.p95("ttft")) == "p95(ttft) = 384 ms (376–392, n = 300)"
    failing = Run(database(tmp_path / "failing.db", [*GOOD, *REFUSED * 60]), tmp_path, 1)
    assert float(failing.p95("ttft")) == math.inf
    assert not failing.p95("ttft") < 60
    assert math.isnan(Run(database(tmp_path / "none.db", []), tmp_path, 3).p95("ttft"))


def test_a_selection_is_given_by_name(tmp_path: Path) -> None:
    streams = [*ttfts([100] * 100, labels={"build": "a"}), *ttfts([900] * 100, network="3g", labels={"build": "b"})]
    run = Run(database(tmp_path / "one.db", streams), tmp_path, 0)
    assert run.p50("ttft", network="3g") > 0.8
    assert run.p50("ttft", label={"build": "a"}) < 0.2
    assert not run.p50("ttft", network="edge") < 60, "nobody has it"


def test_an_unknown_metric_is_an_error_that_lists_the_known_ones(run: Run) -> None:
    with pytest.raises(RuleError, match="no metric called 'ttfb'; there are ttft, ttft_text"):
        run.p95("ttfb")
    with pytest.raises(RuleError, match="no rate called 'errors'; there are error_rate"):
        run.rate("errors")
    with pytest.raises(RuleError, match="unknown field `netwrk`; a selection may have scenario, user, network"):
        run.p95("ttft", netwrk="3g")
