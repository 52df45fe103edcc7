"""Validity, verdict and exit code of a run, and how the result document and the terminal show them."""

import json as stdjson
import re
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from rich.console import Console

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Good, Reader, Sla, Where
from streamgauge.harness.errors import RuleError
from streamgauge.harness.judge.outputs import json, terminal, terminal_tables
from streamgauge.harness.judge.outputs.rich_text import without_colour
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict.judgement import Judgement, exit_code, judge
from streamgauge.harness.judge.verdict.rules import parse_all
from streamgauge.harness.judge.verdict.validity import Validity
from streamgauge.harness.record.observation import Outcome
from tests.support.command import invoke
from tests.support.record import MS, a_run, a_run_of_probes, database, judged, new_store, observation, ttfts

SCHEMA: dict[str, Any] = stdjson.loads((Path(__file__).parents[2] / "docs/reference/result.schema.json").read_text())
GOOD = ttfts(range(100, 400), output_tokens=3, reads=10, read_lag_max=100_000, send_lag=20_000)
BROKEN = [observation([], outcome=Outcome.REFUSED, ended=2, http_status=529, detail="[red]529[/red] overloaded")] * 30


def mixed(tmp_path: Path) -> Judgement:
    """Every kind of verdict, a user class and a network that differ, and failures."""
    return judged(
        tmp_path / "mixed.db",
        [*GOOD, *ttfts([900] * 40, network="slow_4g", user="Commuter"), *BROKEN],
        "p50(ttft) < 1s",
        "p95(ttft) < 500ms",
        "error_rate < 9%",
        Sla(rule="p95(ttft) < 4s", where=Where(network="3g", label={"build": "a"})),
    )


def test_all_rules_met_is_met(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", GOOD, "p95(ttft) < 1s", "max(e2e) < 1s")
    assert (result.verdict, result.reason, result.validity) == ("met", "all 2 rules met", Validity.VALID)
    assert exit_code(result) == 0


def test_missed_beats_inconclusive(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    assert [verdict.status for verdict in result.verdicts] == ["met", "missed", "inconclusive", "inconclusive"]
    assert (result.verdict, result.reason) == ("missed", "1 of 4 rules missed")
    assert exit_code(result) == exit_code(result, "pass") == 1


def test_a_rule_that_only_warns_is_shown_and_does_not_decide(tmp_path: Path) -> None:
    warns = Sla(rule="max(ttft) < 1ms", severity="warn")
    result = judged(tmp_path / "a.db", GOOD, "max(ttft) < 1s", warns)
    assert (result.verdict, result.reason) == ("met", "the rule was met; 1 that only warns missed")
    assert exit_code(result) == 0
    assert "✗ MISSED (only warns)" in terminal.text(result, width=120)
    result = judged(tmp_path / "b.db", GOOD, "max(ttft) < 2ms", warns, warns)
    assert (result.verdict, result.reason) == ("missed", "1 of 1 rule missed; 2 that only warn missed")
    result = judged(tmp_path / "c.db", GOOD, Sla(rule="p95(ttft) < 385ms", severity="warn"))
    assert (result.verdict, result.reason) == ("met", "there are only rules that warn, and none was missed")
    result = judged(tmp_path / "d.db", [], warns)
    assert (result.verdict, result.reason) == (
        "inconclusive", "there are only rules that warn, and they had nothing to judge",
    )  # fmt: skip


def test_a_rule_s_options_are_kept_with_the_run(tmp_path: Path) -> None:
    rule = Sla(
        rule="p95(ttft) < 1s",
        lasting=Duration.parse("2s"),
        min_samples=5,
        abort=True,
        grace=Duration.parse("90s"),
    )
    with Store.open(database(tmp_path / "one.db", GOOD, rules=[rule])) as store:
        assert store.run().rules == [rule]
        assert judge(store).verdicts[0].reason == "it never stayed beyond the limit of 1 s for 2s"


def test_the_limits_of_a_good_answer_are_stored_with_the_run(tmp_path: Path) -> None:
    good = Good(ttft=Duration.parse("350ms"))
    reader = msgspec.structs.asdict(Reader(good=good))
    result = judged(tmp_path / "one.db", GOOD, "goodput > 80%", config={"reader": reader})
    assert (result.rates["goodput"].value, result.rates["goodput"].hits) == (251 / 300, 251)
    document = stdjson.loads(json.render(result))
    jsonschema.validate(document, SCHEMA)
    assert document["reader"]["good"] == {"ttft": "350ms"}


def test_a_run_without_rules_does_not_pass(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", GOOD)
    assert (result.verdict, result.reason) == ("inconclusive", "no SLA rules were given: nothing was judged")
    assert exit_code(result) == 3
    assert exit_code(result, "pass") == 0
    assert exit_code(result, "fail") == 1


def test_a_run_is_judged_by_its_own_rules_unless_others_are_given(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", GOOD, rules=[Sla(rule="max(ttft) < 1ms")])
    with Store.open(path) as store:
        assert judge(store).verdict == "missed"
        assert judge(store, rules=parse_all([Sla(rule="max(ttft) < 1s")])).verdict == "met"
        with pytest.raises(RuleError):
            judge(store, rules=parse_all([Sla(rule="max(ttfb) < 1s")]))


def test_stored_rules_are_not_parsed_if_others_are_given(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", GOOD, rules=[Sla(rule="max(a_metric_of_another_version) < 1s")])
    with Store.open(path) as store:
        assert judge(store, rules=parse_all([Sla(rule="max(ttft) < 1s")])).verdict == "met"
        with pytest.raises(RuleError, match="no metric called 'a_metric_of_another_version'"):
            judge(store)


def test_a_run_without_streams_is_inconclusive(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", [], "p95(ttft) < 1s", "error_rate < 1%")
    assert result.verdict == "inconclusive"
    assert terminal.text(result).startswith("? INCONCLUSIVE")


def test_a_saturated_generator_makes_the_run_invalid(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", [observation(reads=100, saturated_reads=21)] * 100, "max(ttft) < 1s")
    assert (result.verdict, result.validity) == ("invalid", Validity.INVALID)
    assert result.reason.startswith("the generator was saturated: 21.0 % of reads came late")
    assert (exit_code(result), exit_code(result, "fail"), exit_code(result, "pass")) == (3, 1, 3)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"reads": 100, "saturated_reads": 6}, "6.0 % of reads came late and held several chunks"),
        ({"reads": 100, "unstamped_reads": 2}, "2.0 % of reads had no kernel stamp"),
        ({"send_lag": 11 * MS, "chunks": [("text", 400)]}, "the generator sent late: p99 11.0 ms"),
        ({"read_lag_max": 60 * MS}, "the generator read late: by 60.0 ms or more in half of the streams, p99 60.0 ms"),
    ],
)
def test_a_generator_that_was_late_degrades_the_run_which_is_still_judged(
    tmp_path: Path, fields: dict[str, Any], expected: str
) -> None:
    result = judged(tmp_path / "one.db", [observation(**fields)] * 100, "max(ttft) < 1s")
    assert (result.verdict, result.validity) == ("met", Validity.DEGRADED)
    assert expected in result.reasons[0]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"instrument": {"clock_drift_ns": -2 * MS}}, "the machine's clock stepped by 2.00 ms during the run"),
        ({"notes": ["worker 2 was lost"]}, "worker 2 was lost"),
    ],
)
def test_problems_of_the_run_degrade_it(tmp_path: Path, fields: dict[str, Any], expected: str) -> None:
    result = judged(tmp_path / "one.db", GOOD, **fields)
    assert (result.validity, result.reasons) == (Validity.DEGRADED, [expected])


def test_one_pause_of_the_generator_does_not_degrade_a_run(tmp_path: Path) -> None:
    caught = [observation(ended=2_000, reads=100, saturated_reads=3, read_lag_max=300 * MS)] * 30
    free = [observation(ended=2_000, reads=100, read_lag_max=MS)] * 100
    assert judged(tmp_path / "one.db", [*caught, *free]).validity is Validity.VALID


def test_late_reads_of_a_stream_that_a_proxy_packs_are_not_the_generator_s(tmp_path: Path) -> None:
    packed = [observation(reads=100, coalesced_reads=97, saturated_reads=20)] * 100
    assert judged(tmp_path / "packed.db", packed).validity is Validity.VALID
    saturated = [observation(reads=100, coalesced_reads=30, saturated_reads=25)] * 100
    assert judged(tmp_path / "saturated.db", saturated).validity is Validity.INVALID


def test_few_saturated_reads_do_not_make_a_run_invalid(tmp_path: Path) -> None:
    few = judged(tmp_path / "few.db", [observation(reads=9, saturated_reads=1)] * 3)
    assert (few.validity, few.verdict) == (Validity.DEGRADED, "inconclusive")
    assert few.reasons[0].startswith("the generator was saturated: 11.1 % of reads")
    assert judged(tmp_path / "many.db", [observation(reads=9, saturated_reads=1)] * 3_000).validity is Validity.INVALID


def test_a_large_step_of_the_clock_makes_the_run_invalid(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", GOOD, "max(ttft) < 1s", instrument={"clock_drift_ns": 60 * MS})
    assert (result.verdict, result.reason) == ("invalid", "the machine's clock stepped by 60.0 ms during the run")
    assert exit_code(result) == 3


def test_a_server_that_packs_its_tokens_is_not_the_generator_s_fault(tmp_path: Path) -> None:
    result = judged(tmp_path / "one.db", [observation(reads=100, coalesced_reads=60)] * 100)
    assert result.validity is Validity.VALID
    assert "the server or a proxy sends them that way" in result.reasons[0]


def test_a_run_without_an_end_has_no_verdict_since_what_it_lost_is_unknown(tmp_path: Path) -> None:
    with new_store(tmp_path / "one.db") as store:
        store.start_run(a_run(rules=[Sla(rule="max(ttft) < 1s")]))
        store.append("run-1", [observation(due=1_000)] * 10)
        result = judge(store)
    assert (result.verdict, result.seconds) == ("invalid", 1.14)
    assert "how many streams are missing is unknown" in result.reason


def test_a_run_with_fewer_streams_than_it_had_is_invalid(tmp_path: Path) -> None:
    had = {"instrument": {"streams": 12}}
    result = judged(tmp_path / "one.db", [observation()] * 10, "max(ttft) < 1s", **had)
    assert (result.verdict, result.reason) == ("invalid", "2 of 12 streams are missing from the database")
    result = judged(tmp_path / "whole.db", [observation()] * 12, "max(ttft) < 1s", **had)
    assert result.verdict == "met"


def test_the_parts_are_the_user_classes_and_the_networks(tmp_path: Path) -> None:
    result = {(part.key, part.value): part for part in mixed(tmp_path).parts}
    assert list(result) == [("user", "Commuter"), ("user", "Reader"), ("network", "none"), ("network", "slow_4g")]
    assert result["network", "slow_4g"].metrics["ttft"].quantiles.p50 == 900
    assert result["network", "none"].totals.outcomes == {"completed": 300, "refused": 30}


def test_phases_cache_hits_and_whole_answers_are_parts_if_there_are_any(tmp_path: Path) -> None:
    streams = [
        *ttfts([100] * 3, labels={"phase": "alone"}, cache_read_tokens=0),
        *ttfts([200] * 2, labels={"phase": "beside"}, cache_read_tokens=5),
        observation([("text", 900)], answer="whole"),
    ]
    result = judged(tmp_path / "one.db", streams)
    assert {(part.key, part.value): part.metrics["ttft"].n for part in result.parts[2:]} == {
        ("phase", "alone"): 3,
        ("phase", "beside"): 2,
        ("cache", "hit"): 2,
        ("cache", "miss"): 3,
        ("answer", "streamed"): 5,
        ("answer", "whole"): 1,
    }
    assert result.coalesced == 0


def test_the_plain_and_the_gated_figures_stand_side_by_side(tmp_path: Path) -> None:
    ttft = mixed(tmp_path).metrics["ttft"]
    assert (ttft.n, ttft.failed, ttft.missing) == (340, 30, 30)
    assert ttft.quantiles.p95 == 900
    assert ttft.gated.p95 == float("inf")


def test_coalesced_chunks_are_counted(tmp_path: Path) -> None:
    packed = observation([("text", 100), ("text", 100), ("text", 100), ("text", 120)])
    assert judged(tmp_path / "one.db", [packed] * 3 + [observation([])]).coalesced == 6


# The result document and the terminal


def test_the_result_document_is_what_its_schema_says(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for result in (mixed(tmp_path), judged(tmp_path / "empty.db", [], "p95(ttft) < 1s")):
        validator.validate(stdjson.loads(json.render(result), parse_constant=pytest.fail))


def test_the_schema_refuses_a_document_that_is_not_a_result(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    good = stdjson.loads(json.render(mixed(tmp_path)))
    for spoiled in ({"schema": "streamgauge/result/2"}, {"verdict": "passed"}, {"extra": 1}, {"outcomes": {"odd": 1}}):
        assert not validator.is_valid(good | spoiled)


def test_an_infinite_figure_is_null_beside_its_count(tmp_path: Path) -> None:
    document = stdjson.loads(json.render(mixed(tmp_path)))
    assert document["verdicts"][1]["observed"] is None
    assert document["verdicts"][1]["failed"] == 30
    assert document["verdicts"][3]["where"] == {"network": "3g", "label": {"build": "a"}}
    assert document["metrics"]["ttft"]["gated"]["p95"] is None
    assert document["metrics"]["error_rate"] == {"unit": "ratio", "value": 30 / 370, "n": 370}


def test_the_terminal_says_the_verdict_first_and_fits_eighty_columns(tmp_path: Path) -> None:
    lines = terminal.text(mixed(tmp_path)).splitlines()
    assert lines[0] == "✗ MISSED: 1 of 4 rules missed"
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for part in ("✓ MET", "? INCONCLUSIVE", "p95(ttft) < 500ms", "∞", "340 completed, 30 refused"):
        assert part in text


def test_a_pipe_gets_no_colour_and_a_server_no_markup(tmp_path: Path) -> None:
    path = database(tmp_path / "one.db", GOOD, scenario="[red]chat[/red]", host="http://[::1]:1/[b]", notes=["[i]odd"])
    into = StringIO()
    with Store.open(path) as store:
        terminal.render(judge(store), Console(file=into, width=80))
        terminal_tables.render_runs(store.runs(), console=Console(file=into, width=160))
    assert "\x1b" not in into.getvalue()
    for part in ("[red]chat[/red]", "http://[::1]:1/[b]", "[i]odd"):
        assert part in into.getvalue()


def test_nothing_to_judge_is_inconclusive_and_the_caller_may_choose(tmp_path: Path) -> None:
    run = database(tmp_path / "run.db", ttfts(range(100, 400)))
    assert invoke("judge", run).exit_code == 3
    assert invoke("judge", run, "--inconclusive", "pass").exit_code == 0
    assert invoke("judge", run, "--inconclusive", "fail").exit_code == 1


def test_the_terminal_shows_what_rules_and_readers_need_and_all_figures_on_demand(tmp_path: Path) -> None:
    """Issue 17, 13: 17 rows, and ttft twice."""
    found = judged(tmp_path / "one.db", GOOD, "p95(send_lag) < 1s", "stream_rate > 1")
    brief, whole = (without_colour(partial(render, found), 80) for render in (terminal.render_brief, terminal.render))
    rows = [{line.split()[0] for line in text.splitlines() if line} for text in (brief, whole)]
    assert {"ttft", "itl", "error_rate", "send_lag", "stream_rate"} <= rows[0]
    assert "ttft_text" not in rows[0]
    assert {"ttft_text", "duration", "timeout_rate"} <= rows[1]
    assert re.search(r"\d+ more figures with --all", brief)
    assert "--all" not in whole


def test_the_list_of_runs_has_verdict_users_and_labels_and_fits_eighty_columns(tmp_path: Path) -> None:
    path = database(
        tmp_path / "one.db",
        GOOD,
        rules=[Sla(rule="max(ttft) < 1s")],
        labels={"commit": "0123456789abcdef", "build": "a b", "series": "x"},
        fingerprint={"load": {"users": 50}},
    )
    into = StringIO()
    with Store.open(path) as store:
        terminal_tables.render_runs(store.runs(), {"run-1": judge(store).verdict}, Console(file=into, width=80))
    text = into.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    for part in ("host: http://127.0.0.1:1", "✓ met", " 50 ", "commit=0123456,", "build=a b"):
        assert part in text
    assert "89abcdef" not in text


def test_a_monitor_s_run_is_no_load_test_that_was_interrupted(tmp_path: Path) -> None:
    run = a_run_of_probes("eu", status="interrupted", ended_ns=10**9)
    with new_store(tmp_path / "monitor.db") as store:
        store.start_run(run)
        store.append(run.id, [observation([("text", 400)])])
        judged = judge(store)
    listed = invoke("runs", tmp_path / "monitor.db").output
    assert "monitor, 1 probe" in listed
    assert "interrupted" not in listed
    assert judged.validity is not Validity.INVALID
    assert "monitor's probes of eu" in " ".join(judged.reasons)


def test_the_list_of_runs_numbers_its_hosts_above_the_table_where_there_are_several() -> None:
    far = "https://us.staging.example" + "/long" * 12
    hosts = ("https://eu.staging.example", far, "https://eu.staging.example")
    runs = [a_run(id=f"run-{n}", host=host) for n, host in enumerate(hosts)]
    into = StringIO()
    terminal_tables.render_runs(runs, None, Console(file=into, width=80))
    lines = into.getvalue().splitlines()
    assert [line.split(": ")[0] for line in lines[:2]] == ["host 1", "host 2"]
    assert [line.split()[-1] for line in lines[-3:]] == ["1", "2", "1"]
