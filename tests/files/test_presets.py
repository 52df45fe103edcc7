"""Presets of rules: what they are made of, what replaces one of their rules, and where a verdict names them."""

from pathlib import Path

import msgspec
import pytest

from streamgauge.harness.config.load import parse
from streamgauge.harness.config.presets import PRESETS
from streamgauge.harness.config.schema import Sla, Where
from streamgauge.harness.errors import ConfigError, RuleError
from streamgauge.harness.judge.outputs import github, json, junit, markdown, terminal
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import judge
from streamgauge.harness.judge.verdict.rules import parse_all
from tests.support import presets_table
from tests.support.record import database, judged
from tests.support.report_page import rendered
from tests.support.verdicts import GOOD


def rules(*tables: Sla) -> list[tuple[str, str | None]]:
    return [(rule.text, rule.written.preset) for rule in parse_all(tables)]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_made_of_rules_that_can_be_judged(name: str) -> None:
    assert rules(Sla(preset=name)) == [(rule, name) for rule in PRESETS[name]]


def test_the_docs_list_every_preset_with_its_rules() -> None:
    assert presets_table.documented() == presets_table.table(), "run: python -m tests.support.presets_table"


@pytest.mark.parametrize("rule", ["p95(ttft) < 5s", "p95.0( ttft ) <= 5s"])
def test_a_later_rule_of_the_same_figure_takes_the_place_of_a_presets(rule: str) -> None:
    own = Sla(rule=rule, severity="warn")
    assert rules(Sla(preset="article"), own) == [("error_rate < 1%", "article"), (rule, None)]
    assert parse_all([Sla(preset="article"), own])[-1].written.severity == "warn"


@pytest.mark.parametrize(
    "other",
    [
        Sla(rule="p99(ttft) < 5s"),
        Sla(rule="p95(ttft_text) < 5s"),
        Sla(rule="p95(ttft) > 1ms"),  # a limit from the other side would otherwise drop the preset's without a word
        Sla(rule="p95(ttft) < 5s", where=Where(network="3g")),
    ],
)
def test_a_rule_of_another_figure_side_or_selection_is_a_further_rule(other: Sla) -> None:
    assert rules(Sla(preset="article"), other) == [
        ("p95(ttft) < 2s", "article"),
        ("error_rate < 1%", "article"),
        (other.rule, None),
    ]


def test_a_rule_that_somebody_wrote_is_never_replaced() -> None:
    assert rules(Sla(rule="p95(ttft) < 5s"), Sla(rule="p95(ttft) < 6s"), Sla(preset="article")) == [
        ("p95(ttft) < 5s", None),
        ("p95(ttft) < 6s", None),
        ("p95(ttft) < 2s", "article"),
        ("error_rate < 1%", "article"),
    ]


def test_a_later_preset_replaces_rules_of_an_earlier_one_and_none_is_judged_twice() -> None:
    both = rules(Sla(preset="chat"), Sla(preset="article"), Sla(preset="article"))
    assert ("p95(ttft) < 2s", "article") in both
    assert [name for rule, name in both if rule.startswith(("p95(ttft)", "error_rate"))] == ["article", "article"]
    assert len(both) == len(set(both))


def test_the_keys_beside_a_preset_hold_for_each_of_its_rules() -> None:
    table = parse(b"[[sla]]\npreset='article'\nwhere={network='3g'}\nseverity='warn'\nmin_samples=9\nfor='5s'").sla
    for rule in parse_all(table):
        written = rule.written
        assert (written.where.network, written.severity, written.min_samples) == ("3g", "warn", 9)
        assert rule.text.endswith(" for 5s")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("preset = 'chatt'", "sla[0].preset: no preset called 'chatt'; there are chat, voice"),
        ("preset = 'Chat'", "; did you mean 'chat'?"),
        ("preset = 'mlperf-interactive'", "did you mean 'mlperf_interactive'?"),
        ("preset = 'mlperf_server:gpt-oss'", "did you mean 'mlperf_server:gpt-oss-120b'?"),
        ("preset = ''", "sla[0].preset: no preset called ''; there are chat, voice"),
        ("preset = 7", "sla[0].preset: expected a text in quotes, got a whole number"),
        ("preset = 'chat'\nrule = 'p95(ttft) < 1s'", "sla[0]: rule and preset exclude each other"),
        ("severity = 'warn'", "sla[0]: the key 'rule' is missing, or 'preset' in its place"),
    ],
)
def test_a_mistake_with_a_preset_is_one_line_that_says_what_exists(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as fault:
        parse(f"[[sla]]\n{text}".encode(), "x.toml")
    assert expected in str(fault.value)
    assert "\n" not in str(fault.value)


def test_options_that_no_rule_may_have_together_name_the_preset() -> None:
    with pytest.raises(RuleError, match=r"'p95\(ttft\) < 2s' of preset article: grace needs abort = true"):
        parse_all(parse(b"[[sla]]\npreset='article'\ngrace='5s'").sla)


def test_a_verdict_names_the_preset_of_a_rule_wherever_it_is_shown(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", GOOD, Sla(preset="article"), "max(ttft) < 1ms")
    assert [verdict.preset for verdict in result.verdicts] == ["article", "article", None]
    assert "p95(ttft) < 2s (preset article)" in terminal.text(result, 120)
    assert "(preset" not in next(line for line in terminal.text(result, 120).splitlines() if "max(ttft)" in line)
    assert [each["preset"] for each in msgspec.json.decode(json.render(result))["verdicts"]] == [
        "article",
        "article",
        None,
    ]
    assert "`p95(ttft) < 2s` \\(preset article\\)" in markdown.render(result)
    assert '<property name="preset" value="article" />' in junit.render(result)
    page, _ = rendered(tmp_path / "page.db", GOOD, Sla(preset="article"))
    assert "p95(ttft) &lt; 2s (preset article)" in page


def test_an_annotation_of_github_names_the_preset_of_a_missed_rule(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", GOOD, Sla(preset="voice"))
    assert any("(preset voice)" in line for line in github.annotations(result))


def test_a_stored_run_keeps_the_rules_that_its_preset_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [rule.written for rule in parse_all([Sla(preset="article"), Sla(rule="error_rate < 5%")])]
    path = database(tmp_path / "one.db", GOOD, rules=kept)
    monkeypatch.setitem(PRESETS, "article", ("max(ttft) < 1ms",))  # as in a later version
    with Store.open(path) as store:
        assert [(each.rule, each.preset) for each in judge(store).verdicts] == [
            ("p95(ttft) < 2s", "article"),
            ("error_rate < 5%", None),
        ]
