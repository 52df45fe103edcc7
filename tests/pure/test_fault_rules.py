"""Faults as text: which texts are a fault or a rule, what they mean, and which answers a rule hits."""

import contextlib
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamgauge.reference_server.faults.catalogue import FAULTS, table
from streamgauge.reference_server.faults.injector import FaultInjector
from streamgauge.reference_server.faults.rules import FaultRule, RequestedFault, parse_fault, parse_rule

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reset:1.5", "'1.5' does not say when reset happens: write a share from 0 to 1, every=N or a time as 10s-20s"),
        ("crlf:every=0", "'every=0' does not say when crlf happens"),
        ("cut:20s-10s", "'20s-10s' ends before it begins"),
        ("cut:10s-2000m", "'2000m' is too late: at most 1440m"),
        ("cut:0.1:0.2", "has two conditions of one kind: leave 0.1 out"),
        ("stall:0.5", "'0.5' is not a duration"),
        ("stall:2s:every=2@5", "'2s:every=2' is not a duration"),
        ("stall", "stall lacks its argument: stall:DURATION[@K]"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_to_write(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)):
        parse_rule(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("reset", FaultRule(RequestedFault("reset"))),
        ("reset:0.01", FaultRule(RequestedFault("reset"), share=0.01)),
        ("reset:1e-3", FaultRule(RequestedFault("reset"), share=0.001)),
        ("reset@12:0.01", FaultRule(RequestedFault("reset", at=12), share=0.01)),
        ("stall:2s@5:0.05", FaultRule(RequestedFault("stall", 2 * SECOND, 5), share=0.05)),
        ("http_503:every=10", FaultRule(RequestedFault("http_503"), every=10)),
        ("http_429:2s:every=10", FaultRule(RequestedFault("http_429", 2 * SECOND), every=10)),
        ("cut:10m-30m", FaultRule(RequestedFault("cut"), window=(600 * SECOND, 1_800 * SECOND))),
        ("http_503:10s-20s", FaultRule(RequestedFault("http_503"), window=(10 * SECOND, 20 * SECOND))),
        ("buffer:1", FaultRule(RequestedFault("buffer", 1))),
        ("buffer:1:1", FaultRule(RequestedFault("buffer", 1), share=1)),
        (" crlf:every=2:0s-1m:0.5 ", FaultRule(RequestedFault("crlf"), 0.5, 2, (0, 60 * SECOND))),
    ],
)
def test_a_rule_is_parsed_into_a_fault_and_its_conditions(text: str, meant: FaultRule) -> None:
    assert parse_rule(text) == meant


def dealt(*texts: str, seed: int = 0, answers: int = 10_000) -> list[list[str]]:
    faults = FaultInjector([parse_rule(text) for text in texts], seed, Counter())
    return [[order.name for order in faults.by_rule(0)] for _ in range(answers)]


def test_the_same_seed_gives_the_same_faults_whatever_other_rules_there_are() -> None:
    alone = dealt("reset:0.01")
    assert alone == dealt("reset:0.01")
    assert alone != dealt("reset:0.01", seed=1)
    both = dealt("reset:0.01", "crlf:0.5")
    assert [[name for name in names if name == "reset"] for names in both] == alone
    # Five standard deviations of a binomial: 10,000 answers, 1 in 100.
    assert 50 <= sum(map(len, alone)) <= 150


def test_a_window_includes_its_start_and_excludes_its_end() -> None:
    faults = FaultInjector([parse_rule("cut:10s-20s")], 0, Counter())
    moments = [0, 10 * SECOND - 1, 10 * SECOND, 20 * SECOND - 1, 20 * SECOND]
    assert [len(faults.by_rule(now)) for now in moments] == [0, 0, 1, 1, 0]


WORDS = st.sampled_from([*FAULTS, ":", "@", "every=", "-", "2s", "0.5", "7", "", " ", "x"])


@given(st.lists(WORDS, max_size=8).map("".join) | st.text(max_size=20))
@example("\0")
@example("http_429:٣s")
@example("reset@²")
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for parse in (parse_fault, parse_rule):
        with contextlib.suppress(ValueError):
            parse(text)


# The documentation


def test_the_documentation_shows_the_table_of_the_code() -> None:
    assert table() in (Path(__file__).parents[2] / "docs/reference/faults.md").read_text()
