"""What a search found, in sentences and in every output, and with which exit code it ends."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import msgspec
import pytest
from msgspec.structs import replace

from streamgauge.harness.capacity import outputs, sentences, usl
from streamgauge.harness.capacity.found import exit_code
from streamgauge.harness.config.schema import Sla
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare import history
from streamgauge.harness.judge.outputs.kinds import requested
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import RunVerdict, judge
from streamgauge.reports import capacity
from tests.support.command import invoke
from tests.support.found_capacity import found, level
from tests.support.record import database, ttfts

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/capacity.schema.json").read_text())


def test_the_answer_has_both_numbers_and_what_gave_way() -> None:
    assert sentences.answer(found()) == [
        "At least 84 users keep the SLA (95 % confidence).",
        "The knee is about 90 (86–95; the interval is approximate).",
        "At 99 users p95(ttft) gives way first: 2.9 s, limit 1.5 s; p95(itl) still fine.",
    ]
    assert sentences.cost(found()) == "9,876 streams in 412 s, 1.5 USD"


def test_a_generator_that_gave_way_is_not_taken_for_the_server() -> None:
    why = "the generator was saturated; end other programs"
    levels = [level(64, "passed", 0.0, 400.0), level(99, "missed", 0.2, 2900.0, generator=why)]
    told = sentences.answer(found(levels=levels, knee=None, gave_way="generator", proven=64, passed=64, not_passed=99))
    assert told[1].startswith(
        f"At 99 users the load generator gave way, not the server: {why}. The server's knee is above"
    )
    assert exit_code(found(levels=levels, knee=None, gave_way="generator", proven=64)) is Exit.INCONCLUSIVE


def test_a_visit_that_the_generator_spoilt_does_not_hide_one_that_it_did_not() -> None:
    spoilt = level(99, "missed", 0.3, 3900.0, streams=5000, generator="the generator was saturated")
    told = sentences.answer(found(levels=[level(84, "passed", 0.0, 400.0), spoilt, level(99, "missed", 0.11, 2900.0)]))
    assert told[2].startswith("At 99 users p95(ttft) gives way first: 2.9 s")


def test_a_wide_interval_says_how_many_more_streams_would_settle_it() -> None:
    told = sentences.answer(found(knee={"at": 90.0, "low": 70.0, "high": 110.0}))
    assert told[-1] == "The interval is wide; about 11,800 more streams near the knee would make it ±10 %."
    swept = [level(70, "passed", 0.0, 400.0, purpose="sweep"), level(110, "missed", 0.4, 4000.0, purpose="sweep")]
    told = sentences.answer(found(knee={"at": 90.0, "low": 70.0, "high": 110.0}, levels=swept, not_passed=110))
    assert told[-1] == "The interval is wide: give --sweep levels between 70 and 110, or leave it out."


def test_a_search_that_was_ended_early_begins_with_that() -> None:
    told = sentences.answer(
        found(stopped="interrupted", knee=None, proven=None, levels=[], passed=None, not_passed=None)
    )
    assert told == [
        "The search was ended early: interrupted. This is what is known so far.",
        "No number of users was shown to keep the SLA.",
    ]


def test_a_level_that_was_only_climbed_does_not_place_the_knee_above_it() -> None:
    climbed = found(levels=[level(4, "passed", 0.0, 400.0)], passed=4, not_passed=None, knee=None, most=4, stopped="x")
    assert not any("knee" in sentence for sentence in sentences.answer(replace(climbed, proven=None)))
    assert "The knee is above 4, the most that --max-users allows." in sentences.answer(replace(climbed, proven=4))


NOBODY: dict[str, Any] = {"proven": None, "knee": None, "passed": None, "not_passed": 1}
PROOF = level(84, "passed", 0.02, 1100.0)
ONE_MISSED = [level(1, "missed", 0.5, 9000.0)]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, Exit.MET),
        ({"at_least": 84}, Exit.MET),
        ({"at_least": 88}, Exit.INCONCLUSIVE),  # between what was passed and what was missed
        ({"at_least": 99}, Exit.MISSED),
        ({"at_least": 500}, Exit.MISSED),
        ({"stopped": "interrupted"}, Exit.INCONCLUSIVE),
        ({"stopped": "interrupted", "at_least": 64}, Exit.INCONCLUSIVE),  # two visits, but one was on the way up
        ({"stopped": "interrupted", "at_least": 64, "levels": [PROOF, PROOF]}, Exit.MET),
        ({"stopped": "interrupted", "at_least": 80}, Exit.INCONCLUSIVE),  # one does
        ({**NOBODY, "levels": ONE_MISSED}, Exit.MISSED),
        ({**NOBODY, "levels": []}, Exit.INCONCLUSIVE),
        ({"gave_way": "generator"}, Exit.INCONCLUSIVE),
        ({"gave_way": "generator", "at_least": 80}, Exit.MET),
    ],
)
def test_the_exit_code_is_good_only_with_a_proof(fields: dict[str, Any], code: Exit) -> None:
    assert exit_code(found(**fields)) is code


def test_the_document_is_as_its_schema_says() -> None:
    for each in (found(), found(**NOBODY, levels=[], stopped="interrupted")):
        jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(outputs.as_json(each)))


def test_text_from_outside_is_inert_everywhere() -> None:
    hostile = found(host="https://x|`<script>alert(1)</script>", stopped="a | b <img src=x> @somebody")
    assert "<img" not in outputs.as_markdown(hostile).replace("\\<", "")
    assert "@somebody" not in outputs.as_markdown(hostile)
    assert ElementTree.fromstring(outputs.as_junit(hostile)) is not None
    page = capacity.render(hostile)
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_the_page_holds_the_answer_the_levels_and_no_address() -> None:
    page = capacity.render(found())

    class Text(HTMLParser):
        told = ""
        rows = 0

        def handle_data(self, data: str) -> None:
            self.told += data

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.rows += tag == "tr"
            assert not any(name in {"src"} for name, _ in attrs), "it opens without a network"

    text = Text()
    text.feed(page)
    for said in ("At least 84 users keep the SLA", "about 90", "86–95, approximate", "What gave way", "2.9 s"):
        assert said in text.told
    assert text.rows >= len(found().levels) + 2


def test_a_kind_that_a_search_does_not_have_is_refused() -> None:
    with pytest.raises(Exception, match="capacity writes json, junit, markdown, text and github"):
        outputs.check(requested(["gitlab=x.txt"], None, {}))


def test_the_scalability_law_finds_what_a_curve_was_made_of() -> None:
    made = usl.Law(10.0, 0.02, 0.001)
    fitted = usl.law([(users, made.at(users)) for users in (1, 2, 4, 8, 16, 32, 64)])
    assert fitted is not None
    assert [round(each, 6) for each in fitted] == [10.0, 0.02, 0.001]
    assert usl.law([(1, 10.0), (2, 20.0), (4, 40.0)]) is None, "three loads for three parameters"
    straight = usl.law([(users, 10.0 * users) for users in (1, 2, 4, 8)])
    assert straight is not None
    assert straight.at(16) == pytest.approx(160.0)


def searched(folder: Path, answer: dict[str, Any]) -> Path:
    """The database of a search with this answer."""
    observations = ttfts([100.0, 9000.0, 9000.0])
    return database(folder / "run.db", observations, rules=[Sla("p95(ttft) < 1.5s")], instrument={"capacity": answer})


def test_the_database_of_a_search_says_what_was_found_and_not_what_its_rules_would_over_all_levels(
    tmp_path: Path,
) -> None:
    path = searched(tmp_path, msgspec.to_builtins(found()))
    judged = invoke("judge", path, "--json", tmp_path / "found.json")
    assert (judged.exit_code, "At least 84 users keep the SLA" in judged.output) == (0, True)
    assert json.loads((tmp_path / "found.json").read_text())["streams"] == 3, "with those that ended after the answer"
    assert "✓ holds 84 users" in invoke("runs", path).output
    reported = invoke("report", path, "-o", tmp_path / "page.html")
    assert "At least 84 users keep the SLA" in reported.output
    page = (tmp_path / "page.html").read_text()
    assert "What gave way" in page
    assert page.isascii(), "as every page is saved"
    with Store.open(path) as store:
        assert judge(store).verdict is RunVerdict.INCONCLUSIVE, "a gate, a baseline or a history asks this"
    assert "search for a capacity" in invoke("baseline", "accept", path, "--name", "main").output


def test_a_history_and_a_comparison_are_of_the_newest_run_of_one_load(tmp_path: Path) -> None:
    path = database(tmp_path / "run.db", ttfts([100.0] * 20))
    with Store.open(path) as store:
        search = {"id": "run-2", "instrument": {"capacity": msgspec.to_builtins(found())}}
        store.start_run(replace(store.run(), **search))
        store.finish_run("run-2", ended_ns=10**10, status="finished")
        assert store.run().id == "run-2"
        assert [point.run.id for point in history.read(store).points] == ["run-1"]
    compared = invoke("compare", path, path)
    assert (compared.exit_code, "run-1" in compared.output, "run-2" in compared.output) == (0, True, False)


@pytest.mark.parametrize(
    ("answer", "words", "told"),
    [
        (msgspec.to_builtins(found()), ["judge", "--all"], "--all: {run} is a search for a capacity"),
        (msgspec.to_builtins(found()), ["report", "--redact"], "--redact: {run} is a search for a capacity"),
        (
            msgspec.to_builtins(found()),
            ["history"],
            "run-1 is a search for a capacity, whose figures are of many loads",
        ),
        (msgspec.to_builtins(found()), ["compare", "--run", "run-1", "--run", "run-1"], "run-1 is a search for a"),
        ({}, ["judge"], "run-1: the search for a capacity was killed before it had an answer, or goes on"),
        ({"schema": "x"}, ["judge"], "run-1: what the search found is no streamgauge/capacity/1, or damaged"),
        (
            msgspec.to_builtins(found(knee={"at": 0.0, "low": 0.0, "high": 9.0})),
            ["judge"],
            "run-1: what the search found is damaged: its knee is at 0",
        ),
    ],
)
def test_what_a_search_does_not_have_is_a_mistake(
    answer: dict[str, Any], words: list[str], told: str, tmp_path: Path
) -> None:
    command, *options = words
    result = invoke(command, searched(tmp_path, answer), *options)
    assert (result.exit_code, told.replace("{run}", found().run) in result.output) == (2, True), result.output


def test_a_level_without_streams_in_a_damaged_answer_leads_to_no_traceback(tmp_path: Path) -> None:
    nobody = level(99, "missed", 0.0, 400.0, streams=0)
    answer = msgspec.to_builtins(found(levels=[nobody], not_passed=99))
    result = invoke("judge", searched(tmp_path, answer))
    assert (result.exit_code, "At 99 users" in result.output) == (0, True), result.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--max-minutes nan", "write a number of minutes"),
        ("--max-rate 5", "--max-rate bounds a rate: write --open, too"),
        ("--processes 100000", "--processes 100000: write a number up to 256"),
        ("--open --processes 2", "a rate is searched for in one process"),
        ("--sweep 10,20 --at-least 30", "--at-least 30: the sweep goes up to 20"),
        ("-- -u 50", "-u after --: the search sets the load and its time itself"),
        ("-- -t10s", "-t10s after --: the search sets the load and its time itself"),
        ("-- --run-time=10s", "--run-time after --: the search sets the load and its time itself"),
    ],
)
def test_options_that_contradict_the_search_are_mistakes(words: str, told: str) -> None:
    result = invoke("capacity", "http://127.0.0.1:9", *words.split())
    assert (result.exit_code, told in result.output) == (2, True), result.output
