"""What a run shows of its latest streams while it goes on."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Good, Reader, Sla, Where
from streamgauge.harness.judge.measure.histogram import bins_of, middles, placed
from streamgauge.harness.judge.measure.measurements import Measurements
from streamgauge.harness.judge.measure.rates import RATES
from streamgauge.harness.judge.outputs.rich_text import cells
from streamgauge.harness.judge.store import Texts, streams_of
from streamgauge.harness.judge.store.streams import NUMBERS, TEXTS
from streamgauge.harness.judge.verdict.rules import parse_all
from streamgauge.harness.judge.verdict.summary import quantiles
from streamgauge.harness.record.failure import Failure
from streamgauge.harness.record.observation import Outcome, StreamObservation
from streamgauge.harness.record.vitals import Vital, VitalSample
from streamgauge.harness.run import dashboard
from streamgauge.harness.run.latest import SHOWN, Latest
from streamgauge.harness.run.process_summary import ProcessSummary
from streamgauge.harness.run.view import Health, View, health
from tests.support.record import MS, observation

GOOD = Reader(good=Good(ttft=Duration(150 * MS)))
RULES = [
    Sla(rule="p95(ttft) < 1.5s"),
    Sla(rule="p99(itl) < 30ms", where=Where(network="wifi")),
    Sla(rule="mean(e2e) < 100ms", where=Where(label={"phase": "x"})),
    Sla(rule="max(longest_stall) < 2s"),
    Sla(rule="p90(tpot) < 2s"),
    Sla(rule="error_rate < 1%"),
    Sla(rule="error_rate < 90%", where=Where(network="wifi")),
    Sla(rule="goodput > 10%"),
    Sla(rule="stream_rate > 1"),
    Sla(rule="cache_hit_rate > 10%", where=Where(cache="hit")),
]


def streams(n: int = 60, due: float = 0) -> list[StreamObservation]:
    """Of every kind: failed ones, those that people left, whole answers, two networks, a label."""
    chance = Random(n)
    found = []
    for number in range(n):
        first = chance.lognormvariate(5, 0.5)
        chunks = [("text", first + chance.expovariate(1 / 20) + 40 * place) for place in range(chance.randrange(1, 9))]
        found.append(
            observation(
                sorted(chunks, key=lambda chunk: chunk[1]),
                due=due,
                outcome=(Outcome.COMPLETED, Outcome.RESET, Outcome.CANCELLED)[number % 7 % 3],
                network=("wifi", "none")[number % 2],
                answer="whole" if number % 11 == 0 else "streamed",
                labels={"phase": "x"} if number % 3 else {},
                output_tokens=2 * len(chunks),
                cache_read_tokens=(None, 0, 100)[number % 3],
            )
        )
    return found


def judged(seen: Sequence[StreamObservation], rules: Sequence[Sla]) -> Measurements:
    whole = Measurements([name for rule in rules for name in rule.where.label], GOOD)
    columns = streams_of(seen, {*TEXTS, "cache"} - {"oddities"}, NUMBERS)
    columns.text["oddities"] = Texts.of([""] * len(seen))
    whole.take(columns)
    return whole


def test_a_bin_is_less_than_one_percent_off_and_small_numbers_are_exact() -> None:
    ticks = np.array([0, 1, 2, 127, *(int(1.07**power) for power in range(72, 640))])
    assert middles(placed(ticks[:4])).tolist() == ticks[:4].tolist()
    assert np.abs(middles(placed(ticks)) / np.maximum(ticks, 1) - 1)[1:].max() < 0.01
    assert (np.diff(placed(ticks)) >= 0).all()
    assert bins_of(ticks[ticks < 2**18]).tolist() == placed(ticks[ticks < 2**18]).tolist()
    assert bins_of(np.array([-5, 7])).tolist() == [0, 7]


def test_the_live_figures_are_those_of_the_judge() -> None:
    seen, rules = streams(), parse_all(RULES)
    latest = Latest(rules, GOOD)
    for place in range(0, len(seen), 20):
        latest.add(seen[place : place + 20])
        latest.take(1 + place / 20)
    found, whole = latest.figures(5), judged(seen, RULES)
    for row in found.rows:
        samples = whole.distribution(row.name)
        gated = samples.gated()
        assert row.n == gated[1].sum()
        assert row.quantiles == pytest.approx(quantiles(*gated), rel=0.01)
    assert [row.name for row in found.rows] == [*SHOWN]
    for now in found.rules:
        rule = now.rule
        if rule.subject.aggregation is None:
            expected = RATES[rule.subject.name].over(whole.totals(rule.written.where), 5).value
        else:
            expected = rule.subject.aggregate(*whole.distribution(rule.subject.name, rule.written.where).gated())
        assert now.value == pytest.approx(expected, rel=0.01), rule.text
        assert now.holds is (None if expected is None else rule.holds(expected)), rule.text
    assert found.ended == len(seen)
    assert found.chunks == sum(each.content_chunks for each in seen)


def test_streams_that_ended_more_than_ten_seconds_ago_are_in_no_live_figure() -> None:
    latest = Latest([], Reader())
    latest.add(streams(30))
    latest.take(1)
    latest.add(streams(10))
    latest.take(9)
    assert latest.figures(10.5).ended == 40
    assert latest.figures(11.5).ended == 10
    for second in range(12, 100):
        latest.add(streams(1))
        latest.take(second)
    assert len(latest._slices) <= 10, "what is kept does not grow"
    assert latest.figures(200).ended == 0
    assert latest.figures(200).rows[0].quantiles.p50 is None


def test_the_warm_up_has_figures_of_its_own_while_it_lasts() -> None:
    latest = Latest(parse_all(RULES[:1]), Reader(), 3_000 * MS)
    latest.add([*streams(20), *streams(5, due=3_000)])
    latest.take(2)
    assert latest.figures(2.5).ended == 20
    assert latest.figures(3.5).ended == 5
    assert latest.figures(3.5).seconds == 0.5


def test_of_more_streams_than_can_be_measured_at_once_a_sample_stands_for_all() -> None:
    latest = Latest(parse_all([Sla(rule="output_tps > 1")]), Reader())
    one = observation([("text", 100 + 20 * place) for place in range(500)], output_tokens=500)
    latest.add([one] * 1_000)
    measured = latest.take(1)
    assert measured is not None
    assert sum(measured.number["content_chunks"]) <= 60_000
    found = latest.figures(10)
    assert found.ended == pytest.approx(1_000, rel=0.01)
    assert found.rules[0].value == pytest.approx(50_000, rel=0.01)


def test_a_rule_about_the_whole_run_has_no_live_value() -> None:
    latest = Latest(parse_all([Sla(rule="wasted_tokens < 10"), Sla(rule="p95(ttft) < 1s")]), Reader())
    latest.take(1)
    assert [now.holds for now in latest.figures(1).rules] == [None, None]


def seen_of(seconds: float = 20, warm_up: float = 0, failures: Sequence[Failure] = (), rules: int = 10) -> View:
    latest = Latest(parse_all(RULES[:rules]), Reader(), int(warm_up * 1e9))
    latest.add(streams())
    latest.take(seconds)
    signs = [Health("loop lag 3 ms", fine=True), Health("waited for a core 35 %", fine=False)]
    outcomes = Counter({Outcome.COMPLETED: 1_200, Outcome.RESET: 3})
    left = max(0.0, warm_up - seconds)
    return View("chat", "http://host", seconds, 60, left, 50, 41, outcomes, failures, latest.figures(seconds), signs)


def plain(view: View, monkeypatch: pytest.MonkeyPatch, width: int = 79, height: int = 22) -> list[str]:
    monkeypatch.setenv("TERM", "dumb")
    return dashboard.lines(view, width, height)


def test_the_screen_says_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(plain(seen_of(failures=[Failure("reset", None, "closed", 3)]), monkeypatch))
    for part in (
        "chat · http://host", "0:20 of 1:00  ━━━━━━━━────────────────  33%", "50 users, 41 open streams",
        "ended in the last 10 s", "TTFT", "ITL", "E2E", "✗ p99(itl) < 30ms, network wifi: ∞",
        "1,203 streams: 1,200 completed, 0 left, 3 failed", "3 reset: closed", "! waited for a core 35 %",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(("width", "height"), [(79, 22), (40, 10), (20, 3), (200, 60)])
def test_the_screen_fits_into_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int, height: int) -> None:
    hostile = [Failure("refused", 401, "\x1b[2J\u202e" + "w" * 999, 3)]
    monkeypatch.setenv("TERM", "xterm-256color")
    for view in (seen_of(failures=hostile), seen_of(2, 9, hostile, 0)):
        lines = dashboard.lines(view, width, height)
        assert len(lines) <= height
        assert all(cells(line) <= width for line in lines)
        assert not any("\x1b[2J" in line or "\u202e" in line for line in lines)


def test_rules_beyond_their_limit_come_first_where_there_is_no_room_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = plain(seen_of(), monkeypatch, height=14)
    shown = [line for line in lines if line[:1] in "✓✗–"]
    assert shown
    assert shown[0].startswith("✗")
    assert any("more rules" in line for line in lines)


def test_the_warm_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "warm-up: 7 s left; its streams are in no figure of the result" in plain(seen_of(2, 9), monkeypatch)


def test_without_colours_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in "".join(dashboard.lines(seen_of(), 80, 24))
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b[3" in "".join(dashboard.lines(seen_of(), 80, 24))


def test_the_generators_health_is_that_of_the_worst_process() -> None:
    processes = [ProcessSummary(), ProcessSummary()]
    assert health(processes) == []
    for process, lag in zip(processes, (3.0, 70.0), strict=True):
        process.add(0, [VitalSample(1, Vital.LOOP_LAG, lag), VitalSample(1, Vital.STARVED_STREAMS, 2.0)])
    assert health(processes) == [
        Health("loop lag 70 ms", fine=False),
        Health("4 streams without a socket", fine=False),
    ]
