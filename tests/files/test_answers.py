"""The first screen says who has it worst and why, and whether it is the server, the link or our tool."""

from pathlib import Path
from typing import Any

from streamgauge.harness.config.schema import Sla
from streamgauge.harness.judge.store import Store
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.reports.answers import answers
from streamgauge.reports.material import gather
from tests.support import simulated, simulated_faults
from tests.support.record import MS, database, observation, ttfts
from tests.support.report_page import Page, empty, rendered

EVEN = ttfts(range(200, 400), user="Reader", network="none")
WORST, WHOSE = "Who has it worst, and why?", "Is it the server, the link, or our tool?"


def told(path: Path, streams: list[StreamObservation], **fields: Any) -> dict[str, str]:
    with Store.open(database(path, streams, **fields)) as store:
        return {answer.question: answer.sentence for answer in answers(gather(store))}


def test_a_slow_link_is_the_link(tmp_path: Path) -> None:
    slow = ttfts(range(200, 260), user="Reader", network="slow_3g", link=2_000)
    assert told(tmp_path / "run.db", [*EVEN, *slow])[WORST] == (
        "Network slow_3g: P95 TTFT is 2.26 s (network none: 389 ms); what makes the difference is the link, which "
        "the test emulates: P95 of the server’s part 255 ms, of link and connecting 2.00 s."
    )


def test_a_slow_server_is_the_server(tmp_path: Path) -> None:
    found = told(tmp_path / "run.db", [*EVEN, *ttfts(range(900, 999), user="Writer", network="none")])
    assert found[WORST] == (
        "User class Writer: P95 TTFT is 994 ms (user class Reader: 389 ms); what makes the "
        "difference is the server: P95 of the server’s part 993 ms, of link and connecting 1.00 ms."
    )
    parts = "mostly the server: P95 of the server’s part 983 ms, of link and connecting 1.00 ms."
    assert f"{parts} Our tool noticed no fault" in found[WHOSE]


def test_a_part_of_the_ttft_is_measured_stream_by_stream(tmp_path: Path) -> None:
    """One in ten streams has a slow server and another one a slow link: neither P95 is the rest of the other."""
    slow = ttfts([1_000.0] * 20), ttfts([200.0] * 20, link=800)
    found = told(tmp_path / "run.db", [*ttfts([200.0] * 160), *slow[0], *slow[1]])
    assert "P95 TTFT is 1 s" in found[WHOSE]
    assert "P95 of the server’s part 999 ms, of link and connecting 801 ms" in found[WHOSE]


def test_nothing_went_wrong_only_if_no_rule_was_missed_or_undecided(tmp_path: Path) -> None:
    met = Sla(rule="p95(ttft) < 1s")
    assert "every rule is met" in told(tmp_path / "met.db", EVEN, rules=[met])[WHOSE]
    for name, rule in (("missed", "p95(ttft) < 100ms"), ("undecided", "error_rate < 1%")):
        warns = Sla(rule=rule, severity="warn")
        assert "every rule is met" not in told(tmp_path / f"{name}.db", EVEN, rules=[met, warns])[WHOSE]


def test_our_tool_is_called_innocent_only_where_it_was_calibrated(tmp_path: Path) -> None:
    calibrated = {"instrument": {"certificate": {"made_at": "2026-11-01"}}}
    assert "Our tool is not the cause" in told(tmp_path / "yes.db", EVEN, **calibrated)[WHOSE]
    near, far = told(tmp_path / "no.db", EVEN), told(tmp_path / "far.db", EVEN, host="https://llm.example")
    for found in (near, far):
        assert "Our tool noticed no fault of its own" in found[WHOSE]
        assert "was not measured (streamgauge calibrate)" in found[WHOSE]
        assert ", and the verdict does not need that." in found[WHOSE]
    assert near[WHOSE].endswith(". Server and tool shared this machine.")
    assert "shared" not in far[WHOSE]


def test_a_user_class_is_named_with_its_network_only_if_no_other_class_has_the_same(tmp_path: Path) -> None:
    lost = [empty(Outcome.RESET, user="Hurried", network="wifi") for _ in range(60)]
    others = ttfts(range(200, 400), user="Writer", network="wifi")
    assert told(tmp_path / "shared.db", [*EVEN, *others, *lost])[WORST].startswith("User class Hurried: ")
    own = [*EVEN, *ttfts(range(200, 300), user="Driver", network="none"), *lost]
    assert told(tmp_path / "own.db", own)[WORST].startswith("Network wifi (class Hurried): ")


def test_who_fails_is_worse_off_than_who_waits(tmp_path: Path) -> None:
    failed = [empty(Outcome.RESET, network="tunnel") for _ in range(30)]
    streams = [*EVEN, *ttfts(range(200, 400), network="wifi"), *failed, *ttfts(range(200, 230), network="tunnel")]
    found = told(tmp_path / "run.db", streams)
    assert found[WORST] == "Network tunnel: 50.0 % of its streams failed, all of them reset (all other networks: 0 %)."


def left(seconds: float, **fields: Any) -> StreamObservation:
    return observation((), outcome=Outcome.CANCELLED, ended=1_000 * seconds, **fields)


def test_people_who_gave_up_have_it_worse_than_people_who_waited(tmp_path: Path) -> None:
    """The first tokens of those who stayed are the quick ones: by them alone, an impatient group would look best."""
    waited = ttfts(range(9_000, 9_200), user="Reader")
    impatient = [*ttfts(range(2_000, 2_010), user="Hurried"), *(left(4, user="Hurried") for _ in range(60))]
    found = told(tmp_path / "run.db", [*waited, *impatient])
    assert found[WORST] == (
        "User class Hurried: 85.7 % of its people gave up before the first token, 60 of 70 (user "
        "class Reader: 0 %); of all people who got a first token, half waited 9.09 s or longer."
    )
    assert found[WHOSE].startswith("P95 TTFT of those who got a first token is ")


def test_a_group_that_lost_streams_in_two_ways_says_both(tmp_path: Path) -> None:
    lost = [*(left(4, user="Hurried") for _ in range(20)), *(empty(Outcome.RESET, user="Hurried") for _ in range(5))]
    found = told(tmp_path / "run.db", [*EVEN, *lost, *ttfts(range(200, 225), user="Hurried")])
    assert found[WORST].startswith(
        "User class Hurried: 50.0 % of its 50 streams brought nothing: 5 failed, and 20 were left "
        "before the first token (user class Reader: 0 %)"
    )


def test_people_who_gave_up_in_all_groups_are_told(tmp_path: Path) -> None:
    gone = [left(4, user=user) for user in ("Reader", "Writer") for _ in range(30)]
    found = told(tmp_path / "run.db", [*EVEN, *ttfts(range(200, 400), user="Writer"), *gone])
    assert found[WORST] == ("No group stands out: 60 of 460 people gave up before the first token.")


def test_a_failure_of_several_kinds_says_how_much_the_first_one_is(tmp_path: Path) -> None:
    kinds = [empty(Outcome.RESET)] * 30 + [empty(Outcome.REFUSED, http_status=503, detail="HTTP 503")] * 10
    assert "40 of 240 streams failed, most of them reset." in told(tmp_path / "run.db", [*EVEN, *kinds])[WHOSE]
    kinds += [empty(Outcome.REFUSED, http_status=429, detail="HTTP 429")] * 25
    assert "65 of 265 streams failed, 30 of them reset." in told(tmp_path / "three.db", [*EVEN, *kinds])[WHOSE]


def test_who_waits_in_mid_answer_has_it_worst_and_it_is_the_link(tmp_path: Path) -> None:
    made = simulated.asks(11)
    simulated_faults.tunnel(made)
    found = told(tmp_path / "run.db", simulated.observations(made))
    assert found[WORST].startswith("Network tunnel (class User0): answers freeze: one reader in 20 waits ")
    assert found[WORST].endswith(" or longer in mid-answer (network wifi: 0 ms).")
    assert (
        "The link, which the test emulates: on the network “tunnel”, 100 % of the streams stalled on the link, not "
        "before." in found[WHOSE]
    )


def test_a_slower_pace_is_told_if_people_notice_it(tmp_path: Path) -> None:
    def paced(by: int) -> list[StreamObservation]:
        return [
            observation(
                [("text", at), ("text", at + 20), ("text", at + 40)], link=[0, by, 2 * by], user="Reader", network="3g"
            )
            for at in range(200, 400)
        ]

    assert told(tmp_path / "run.db", [*EVEN, *paced(130)])[WORST] == (
        "Network 3g: P95 ITL is 150 ms (network none: 20.0 ms); what makes the difference is the link, which the test "
        "emulates: P95 of the server’s part 20.0 ms."
    )
    assert told(tmp_path / "fast.db", [*EVEN, *paced(30)])[WORST].startswith("No group is noticeably worse off: no")
    far = told(tmp_path / "far.db", [*EVEN, *paced(130)], rules=[Sla(rule="p95(itl) < 900ms")])
    assert far[WORST].startswith("No group is noticeably worse off")


def test_freezes_that_no_group_has_to_itself_are_everybodys(tmp_path: Path) -> None:
    made = simulated.asks(11)
    simulated_faults.stalled(0.3, 2)(made)
    found = told(tmp_path / "run.db", simulated.observations(made))
    assert found[WORST] == "No group stands out: answers stood still, in no group clearly longer than in the others."
    assert found[WHOSE].startswith(
        "The server, or a proxy or the network before it: 86 of 315 streams stalled in the middle, each at a time of"
    )


def test_freezes_beyond_a_limit_are_told_with_whose_they_are(tmp_path: Path) -> None:
    rules = [Sla(rule="p99(longest_stall) < 500ms")]
    chunks = [("text", 200.0), ("text", 3_200.0)]
    few = [observation(chunks, due=4_000.0 * n, user="Reader", network="none") for n in range(8)]
    found = told(tmp_path / "server.db", [*EVEN, *few], rules=rules)
    assert found[WORST].startswith("No group stands out: answers freeze: one in 100 waits 2.8")
    assert found[WORST].endswith(" in mid-answer (limit 500 ms).")
    assert found[WHOSE].startswith("Freezes: the server; 8 of 8 gaps of a second and more were there before the link.")
    chunks = [("text", 200.0), ("text", 220.0)]
    linked = [observation(chunks, link=[0, 3_000], user="Reader", network="none") for _ in range(8)]
    found = told(tmp_path / "link.db", [*EVEN, *linked], rules=rules)
    assert found[WHOSE].startswith("Freezes: the link; 0 of 8 gaps of a second and more were there before the link.")


def test_where_no_user_class_stands_out_a_server_may(tmp_path: Path) -> None:
    made = simulated.asks(11)
    simulated_faults.one_slow_address(made)
    found = told(tmp_path / "run.db", simulated.observations(made))
    assert (
        "or waits noticeably longer. But: The server at “10.0.0.2” differs from the others: its streams" in found[WORST]
    )


def test_where_nobody_stands_out_nobody_is_named(tmp_path: Path) -> None:
    found = told(tmp_path / "run.db", [*EVEN, *ttfts(range(200, 400), user="Writer")])
    assert found[WORST].startswith("No group is noticeably worse off: no user class clearly fails more often")
    assert told(tmp_path / "one.db", EVEN)[WORST].startswith("All streams are of one user class and one network")


def test_a_group_is_within_its_limit_only_if_its_interval_is(tmp_path: Path) -> None:
    later = ttfts(range(800, 1_000), user="Reader", network="slow_4g")
    for limit, told_of_it in (
        (970, ""),
        (993, ", not surely within the limit of 993 ms"),
        (1_100, ", within the limit of"),
    ):
        found = told(tmp_path / f"{limit}.db", [*EVEN, *later], rules=[Sla(rule=f"p95(ttft) < {limit}ms")])[WORST]
        assert f"P95 TTFT is 989 ms (network none: 389 ms){told_of_it}" in found
        assert ("within the limit" in found) is bool(told_of_it)


def test_the_group_nearest_to_its_limit_is_named_although_it_is_not_noticeably_worse(tmp_path: Path) -> None:
    later = ttfts(range(350, 500), user="Reader", network="slow_4g")
    for limit, by_itself in ((480, "misses"), (495, "may miss"), (600, "keeps")):
        found = told(tmp_path / f"{limit}.db", [*EVEN, *later], rules=[Sla(rule=f"p95(ttft) < {limit}ms")])[WORST]
        assert found.startswith("No group is noticeably worse off: no network ")
        assert f" Nearest to its limit is network slow_4g: P95 TTFT 492 ms (486–497; limit {limit} ms); " in found
        assert f"; by itself it {by_itself} the limit" in found
    assert "Nearest" not in told(tmp_path / "far.db", [*EVEN, *later], rules=[Sla(rule="p95(ttft) < 700ms")])[WORST]
    few = told(tmp_path / "few.db", [*EVEN, *later[-20:]], rules=[Sla(rule="p95(ttft) < 520ms")])[WORST]
    assert few.endswith(
        "P95 TTFT 498 ms (limit 520 ms); by itself it has too few streams to tell whether it keeps that."
    )


def test_a_group_that_differs_within_its_interval_may_do_so_by_chance(tmp_path: Path) -> None:
    def streams(user: str, answered: int, refused: int) -> list[StreamObservation]:
        failed = [observation([], outcome=Outcome.REFUSED, user=user, network="none")] * refused
        return [*ttfts([300.0] * answered, user=user, network="none"), *failed]

    few = [*streams("Hurried", 7, 3), *streams("Reader", 10, 0)]
    assert told(tmp_path / "few.db", few)[WORST] == (
        "3 of 20 streams failed; most often those of user class Hurried, 30.0 % (user class Reader: 0 %), which may be "
        "chance."
    )
    two_keys = [*few, *ttfts([300.0] * 20, user="Reader", network="wifi")]
    assert "most often those of user class Hurried, 30.0 %" in told(tmp_path / "keys.db", two_keys)[WORST]
    alike = [*streams("Hurried", 20, 3), *streams("Reader", 20, 3)]
    assert told(tmp_path / "alike.db", alike)[WORST] == "No group stands out: 6 of 46 streams failed."


def test_an_invalid_run_is_not_sure_of_server_and_link(tmp_path: Path) -> None:
    found = told(tmp_path / "run.db", EVEN, instrument={"mistakes": ["the scenario's own code raised: KeyError"]})
    assert found[WORST].startswith("Seen, but not sure, since the run is invalid: all streams are of one user")
    assert found[WHOSE].startswith("Our tool, or how it ran: the scenario's own code raised: KeyError")


def test_a_long_reason_is_told_in_whole_clauses(tmp_path: Path) -> None:
    clauses = [f"the scenario's own code raised the error {number} of many" for number in range(20)]
    found = told(tmp_path / "run.db", EVEN, instrument={"mistakes": ["; ".join(clauses)]})[WHOSE]
    reason, _, rest = found.removeprefix("Our tool, or how it ran: ").partition(". ")
    assert rest.startswith("What the figures say")
    assert 1 < len(reason.split("; ")) < 20
    assert set(reason.split("; ")) < set(clauses)


def test_a_run_in_which_all_failed_says_how(tmp_path: Path) -> None:
    refused = [empty(Outcome.REFUSED, http_status=503, detail="HTTP 503: overloaded")] * 30
    assert told(tmp_path / "refused.db", refused)[WHOSE] == (
        "The server: no stream had a first token, all of them refused: HTTP 503: overloaded. Our tool noticed "
        "no fault of its own. How exact its times are was not measured (streamgauge calibrate), and the verdict does "
        "not need that. Server and tool shared this machine."
    )
    lost = [empty(Outcome.UNREACHABLE, detail="no route")] * 30
    assert told(tmp_path / "lost.db", lost)[WHOSE].startswith(
        "The server, or a proxy or the network before it: no stream had a first token"
    )


def test_failures_come_before_the_times_of_the_others(tmp_path: Path) -> None:
    refused = [empty(Outcome.REFUSED, http_status=503, detail='HTTP 503: {"error": "overloaded"}')] * 30
    answered = told(tmp_path / "run.db", [*EVEN, *refused])
    assert answered[WORST] == "No group stands out: 30 of 230 streams failed."
    found = answered[WHOSE]
    assert found.startswith(
        "The server: 30 of 230 streams failed, all of them refused: HTTP 503. P95 TTFT of the others is "
        "389 ms; mostly the server: P95 of the server"
    )
    assert told(tmp_path / "few.db", [*EVEN, refused[0]])[WHOSE].startswith("P95 TTFT is 389 ms"), "1 of 201 is noise"


def test_a_tool_near_its_limit_is_not_called_innocent(tmp_path: Path) -> None:
    path = database(tmp_path / "run.db", EVEN)
    with Store.open(path) as store:
        store.append("run-1", [], [("one", second * 1_000 * MS, "python_cpu_percent", 80) for second in range(10)])
        whose = answers(gather(store))[1].sentence
    assert "Our tool was busy but kept up" in whose


def test_a_run_without_streams_has_no_answers(tmp_path: Path) -> None:
    assert told(tmp_path / "run.db", []) == {}


def test_each_answer_leads_to_its_panel(tmp_path: Path) -> None:
    html, _ = rendered(tmp_path / "run.db", EVEN)
    seen = Page(html)
    anchors = {given.get("id") for _, given in seen.tags}
    links = [given["href"] or "" for tag, given in seen.tags if tag == "a" and "href" in given]
    assert {"#latency", "#server"} <= {*links}
    assert {link[1:] for link in links if not link.startswith("#stream")} <= anchors


def test_a_network_and_the_one_user_class_on_it_are_one_group(tmp_path: Path) -> None:
    home = [
        *ttfts(range(200, 300), user="Reader", network="wifi"),
        *ttfts(range(200, 300), user="Writer", network="wifi"),
    ]
    away = ttfts(range(900, 1_000), user="Commuter", network="slow_4g")
    html, judgement = rendered(tmp_path / "run.db", [*home, *away])
    assert [(part.key, part.name) for part in judgement.groups] == [
        ("user", "Reader"), ("user", "Writer"), ("network", "slow_4g (class Commuter)"), ("network", "wifi"),
    ]  # fmt: skip
    assert {part.value for part in judgement.parts} >= {"Commuter", "Reader", "slow_4g"}, "JSON has both"
    seen = Page(html)
    assert told(tmp_path / "again.db", [*home, *away])[WORST].startswith(
        "Network slow_4g (class Commuter): P95 TTFT is "
    )
    for table in ("TTFT of what was observed", "Errors and completion by part of the run"):
        first = [row[0] for row in seen.tables[table]]
        assert "network slow_4g (class Commuter)" in first
        assert "user Commuter" not in first
    assert '<option value="' in html
    assert ">slow_4g (class Commuter)</option>" in html
    assert ">Commuter</option>" not in html
    mixed = [*home, *away, *ttfts([500.0], user="Reader", network="slow_4g")]
    assert "(class " not in told(tmp_path / "mixed.db", mixed)[WORST]
