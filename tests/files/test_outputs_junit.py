"""A verdict as JUnit XML."""

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.outputs import github, junit
from streamgauge.harness.judge.verdict.judgement import Judgement, judge
from streamgauge.harness.judge.verdict.rules import parse_all
from tests.support.record import a_run, judged, new_store, ttfts
from tests.support.verdicts import GOOD, REFUSED, SATURATED, case, cells, properties

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
SUITE = {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time"}


def suites(judgement: Judgement) -> list[Element]:
    """The parsed document, checked against both schemas in use: Windy Road's for Ant, and Jenkins's junit-10."""
    root = ElementTree.fromstring(junit.render(judgement).encode())
    assert (root.tag, root.attrib) == ("testsuites", {})
    for number, suite in enumerate(root):
        assert (suite.tag, set(suite.attrib)) == ("testsuite", SUITE)
        assert [child.tag for child in suite] == ["properties", "testcase", "system-out", "system-err"]
        assert suite.attrib["id"] == str(number)
        assert TIMESTAMP.fullmatch(suite.attrib["timestamp"])
        assert float(suite.attrib["time"]) >= 0
        assert all(re.fullmatch(r"\S(.*\S)?", suite.attrib[name]) for name in ("name", "package", "hostname"))
        (properties, case, *_) = suite
        assert {child.tag for child in properties} == {"property"}
        assert all(set(child.attrib) == {"name", "value"} for child in properties)
        assert (set(case.attrib), case.attrib["time"]) == ({"name", "classname", "time"}, "0")
        assert len(case) <= 1
        for result in case:
            assert result.tag in {"skipped", "failure", "error"}
            assert set(result.attrib) == {"type", "message"}
            assert len(result) == 0
        found = [result.tag for result in case]
        counted = {"failures": "failure", "errors": "error", "skipped": "skipped"}
        assert {name: int(suite.attrib[name]) for name in counted} == {
            name: found.count(tag) for name, tag in counted.items()
        }
        assert suite.attrib["tests"] == "1"
    return list(root)


def results(judgement: Judgement) -> list[tuple[str, str]]:
    """The name and the result of each case."""
    return [(case(s).attrib["name"], case(s)[0].tag if len(case(s)) else "passed") for s in suites(judgement)]


def test_junit_has_one_case_for_each_rule(mixed: Judgement) -> None:
    assert results(mixed) == [
        ("p50(ttft) < 1s", "passed"),
        ("p95(ttft) < 500ms", "failure"),
        ("error_rate < 9%", "skipped"),
        ("p95(ttft) < 4s [network 3g, label build a]", "skipped"),
    ]
    assert {case(suite).attrib["classname"] for suite in suites(mixed)} == {"streamgauge.chat"}


def test_junit_carries_the_values_as_properties(mixed: Judgement) -> None:
    found = properties(suites(mixed)[1])
    assert found["status"] == "missed"
    assert (found["observed"], found["limit"], found["unit"], found["n"], found["failed"]) == (
        "INF", "500", "ms", "370", "30",
    )  # fmt: skip
    assert "observed" not in properties(suites(mixed)[3]), "what was not observed is absent"


def test_names_in_junit_do_not_depend_on_what_was_measured(mixed: Judgement, tmp_path: Path) -> None:
    rules = [Sla(rule=verdict.rule, where=verdict.where) for verdict in mixed.verdicts]
    other = judged(tmp_path / "other.db", [*ttfts([5_000] * 90), *REFUSED], *rules, id="run-2")
    assert [name for name, _ in results(other)] == [name for name, _ in results(mixed)]


def test_an_invalid_run_is_an_error_in_junit_whatever_its_rules_would_say(tmp_path: Path) -> None:
    found = judged(tmp_path / "one.db", SATURATED, "max(ttft) < 1s", "max(ttft) < 1ms")
    assert [result for _, result in results(found)] == ["error", "error"]
    assert case(suites(found)[0])[0].attrib["message"].startswith("the generator was saturated")


def test_a_run_without_rules_is_a_case_that_does_not_pass(tmp_path: Path) -> None:
    assert results(judged(tmp_path / "one.db", GOOD)) == [("SLA rules", "skipped")]


def test_a_run_that_is_not_met_though_its_rules_are_is_a_case_and_an_annotation_of_its_own(tmp_path: Path) -> None:
    failures = judged(tmp_path / "one.db", [*GOOD, *REFUSED], "p50(ttft) < 1s")
    assert (failures.verdict, failures.verdicts[0].status) == ("inconclusive", "met")
    assert results(failures) == [("p50(ttft) < 1s", "passed"), ("the run", "skipped")]
    message = "30 of 330 streams failed, and no rule says how many may: add one, such as error_rate < 1%25"
    assert github.annotations(failures) == [f"::warning title=chat%3A inconclusive::{message}"]
    with new_store(tmp_path / "two.db") as store:
        store.start_run(a_run())
        store.append("run-1", GOOD)
        store.finish_run("run-1", ended_ns=10**10, status="aborted", instrument={"aborted": "p95(ttft) < 1ms missed"})
        aborted = judge(store, rules=parse_all([Sla(rule="p50(ttft) < 1s")]))
    assert results(aborted) == [("p50(ttft) < 1s", "passed"), ("the run", "failure")]
    (error,) = github.annotations(aborted)
    assert error == "::error title=chat%3A missed::the run was ended early: p95(ttft) < 1ms missed"


def test_hostile_text_in_junit_is_text(hostile: Judgement) -> None:
    found = suites(hostile)
    assert len(found) == 2
    assert "]]><script>alert(1)</script> ::error::owned" in case(found[0]).attrib["name"]
    assert "⟨U+0000⟩⟨U+0007⟩⟨U+202E⟩⟨U+FFFE⟩" in case(found[0]).attrib["name"]


def test_a_rule_that_only_warns_is_skipped_with_its_reason(tmp_path: Path) -> None:
    found = judged(tmp_path / "one.db", GOOD, Sla(rule="max(ttft) < 1ms", severity="warn"), "max(ttft) < 1s")
    assert results(found) == [("max(ttft) < 1ms", "skipped"), ("max(ttft) < 1s", "passed")]
    assert case(suites(found)[0])[0].attrib["message"].startswith("missed (only warns): 399 ms")
    assert github.annotations(found)[0].startswith("::warning title=max(ttft) < 1ms missed::")
    assert cells(found)[1][0] == "✗ missed (only warns)"
