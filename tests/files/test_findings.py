"""Findings of stored runs in each output: all of them, or that there are none, and nothing in them has an effect."""

import dataclasses
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt

from streamgauge.harness.judge.outputs import json as json_output
from streamgauge.harness.judge.outputs import junit, markdown, terminal
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.findings import Certainty
from streamgauge.harness.judge.verdict.judgement import Judgement
from streamgauge.harness.judge.wording import harmless, visible
from streamgauge.reports import page
from streamgauge.reports.material import gather
from tests.support import simulated_faults as faults
from tests.support.record import database, judged
from tests.support.report_page import Page
from tests.support.simulated import Server, Users, asks, found, observations
from tests.support.verdicts import HOSTILE

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/result.schema.json").read_text())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Judgement]:
    """A run whose findings quote a label, a network and a worker with names that try to act on what shows them."""
    made = asks(11)
    faults.slow_headers(0.3, 3, **{HOSTILE: HOSTILE})(made)
    faults.tunnel(made)
    faults.one_failing_worker(made)
    for ask in made:
        ask.network = ask.network.replace("tunnel", f"tunnel {HOSTILE}")
        ask.worker = ask.worker.replace("worker-1", f"worker-1 {HOSTILE}")
        ask.stop_reason = HOSTILE
    path = tmp_path_factory.mktemp("hostile") / "run.db"
    return path, judged(path, observations(made), "error_rate < 50%")


def test_the_findings_quote_the_hostile_names(hostile: tuple[Path, Judgement]) -> None:
    _, judgement = hostile
    assert [finding.id for finding in judgement.findings] == ["link_stalls", "two_kinds", "worker_differs"]
    assert all("<script>" in finding.sentence for finding in judgement.findings)
    assert all(len(finding.sentence) < 400 for finding in judgement.findings), "names are shortened"


def test_the_document_has_each_finding_whole(hostile: tuple[Path, Judgement]) -> None:
    text = json_output.render(hostile[1])
    Draft202012Validator(SCHEMA).validate(json.loads(text))
    told = json.loads(text)["findings"]
    assert [each["id"] for each in told] == [finding.id for finding in hostile[1].findings]
    assert told[2]["evidence"][2] == {"what": "its streams", "value": 110, "unit": ""}
    assert not {"\x00", "\x07", "\u202e"} & {*text}


def test_markdown_shows_hostile_names_as_text(hostile: tuple[Path, Judgement]) -> None:
    text = markdown.render(hostile[1])
    assert "Findings: 3 found" in text
    tokens = [
        token for block in MarkdownIt("gfm-like", {"linkify": False}).parse(text) for token in block.children or []
    ]
    assert not [token for token in tokens if token.type == "html_inline"]
    links = {str(token.attrs["href"]) for token in tokens if token.type == "link_open"}
    assert links == {finding.source for finding in hostile[1].findings}


def test_the_terminal_has_a_line_for_each_finding(hostile: tuple[Path, Judgement]) -> None:
    text = terminal.text(hostile[1], 1_000)
    assert "findings: 3 found\n" in text
    for finding in hostile[1].findings:
        assert f"\n  {finding.id}: {harmless(finding.advice)}\n    {harmless(finding.sentence)}\n" in text
    assert not {"\x00", "\x07", "\u202e"} & {*text}
    assert "\n::" not in text


def test_junit_has_the_findings_in_system_out_only(hostile: tuple[Path, Judgement]) -> None:
    document = ElementTree.fromstring(junit.render(hostile[1]).encode())
    out = next(document.iter("system-out")).text or ""
    assert [line.split(":")[0] for line in out.split("\n")[1:]] == [
        "finding link_stalls", "finding two_kinds", "finding worker_differs",
    ]  # fmt: skip
    assert not [case for case in document.iter("testcase") if "finding" in "".join(case.itertext())]


def test_the_report_shows_each_finding_as_text(hostile: tuple[Path, Judgement]) -> None:
    with Store.open(hostile[0]) as store:
        read = Page(page.render(gather(store)))
    assert [tag for tag, _ in read.tags].count("article") == len(hostile[1].findings)
    for finding in hostile[1].findings:
        told = f"{visible(finding.advice)}.\n{visible(finding.sentence)}. ({finding.id}, {finding.certainty})\n"
        assert told in read.text
        assert f"Source{finding.source}\n" in read.text
    assert not [script for script in read.scripts if "alert(1)" in script]


def test_a_stored_run_has_the_findings_of_its_streams(tmp_path: Path) -> None:
    for change in (faults.in_writes_of(8), faults.uncached(0.4), faults.cut_after(60, 0.1), faults.cut_short(0.4)):
        made = asks(11)
        change(made)
        stored = judged(tmp_path / f"{len([*tmp_path.iterdir()])}.db", observations(made))
        assert [finding.id for finding in stored.findings] == [*found(made)]


def test_what_explains_a_missed_rule_comes_first(tmp_path: Path) -> None:
    made = asks(11)
    faults.tunnel(made)
    faults.refused(0.1, 429)(made)
    ids = ["rate_limited", "link_stalls"]
    for rule, order in (("error_rate < 1%", ids), ("p80(longest_stall) < 500ms", ids[::-1])):
        stored = judged(tmp_path / f"{order[0]}.db", observations(made), rule)
        assert stored.verdict == "missed"
        assert [finding.id for finding in stored.findings] == order


def test_a_queue_before_a_server_whose_pace_is_near_its_limit_is_not_to_get_more_slots(tmp_path: Path) -> None:
    crowd = Users(at_once=60, ramp=3, think=2.5, seconds=75)
    made = asks(11, Server(ttft=0.7, slots=12, tokens=(100, 140)), crowd)
    near, beyond = "as the ITL is near its limit already", "as the ITL is beyond its limit already"
    for limit, advised, told in ((1_000, "allow more at once", False), (40, near, True), (20, beyond, True)):
        judgement = judged(tmp_path / f"{limit}.db", observations(made), f"p95(itl) < {limit}ms")
        queue = next(each for each in judgement.findings if each.id == "queueing")
        assert advised in queue.advice
        assert ("its rule allows" in queue.change) is told


def test_none_found_is_a_line_too(tmp_path: Path) -> None:
    plain = judged(tmp_path / "plain.db", observations(asks(11)))
    assert plain.findings == []
    assert "findings: none found\n" in terminal.text(plain)
    assert "Findings: none found\n" in markdown.render(plain)
    assert json.loads(json_output.render(plain))["findings"] == []
    with Store.open(tmp_path / "plain.db") as store:
        assert "None found: no pattern in this run" in Page(page.render(gather(store))).text


def test_a_missed_rule_that_nothing_explains_has_a_next_step(tmp_path: Path) -> None:
    for rule, told in (
        ("p95(ttft) < 1ms", "run it with half the users"),
        ("p95(itl) < 1ms", "look at the streams that stood still longest"),
        ("error_rate < 1%", ""),  # a rate limit explains it
    ):
        made = asks(11)
        if not told:
            faults.refused(0.1, 429)(made)
        path = tmp_path / f"{rule[:5]}.db"
        stored = judged(path, observations(made), rule)
        assert stored.verdict == "missed"
        with Store.open(path) as store:
            html = page.render(dataclasses.replace(gather(store), judgement=stored))
        for text in (stored.next_step, terminal.text(stored, 1_000), markdown.render(stored), html):
            assert ("nothing found explains the " in text.lower()) == bool(told)
            assert told in text


def test_a_run_without_streams_has_no_findings(tmp_path: Path) -> None:
    with Store.open(database(tmp_path / "empty.db", [])) as store:
        assert gather(store).judgement.findings == []


def test_nothing_is_sure_in_an_invalid_run(tmp_path: Path) -> None:
    made = asks(11)
    faults.refused(0.1, 429)(made)
    invalid = judged(tmp_path / "invalid.db", observations(made), instrument={"mistakes": ["a mistake"]})
    assert [(finding.id, finding.certainty) for finding in invalid.findings] == [("rate_limited", Certainty.POSSIBLE)]
