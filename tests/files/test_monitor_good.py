"""What a good probe is."""

import pytest

from streamgauge.harness.config.schema import Reader
from streamgauge.harness.judge.store import streams_of
from streamgauge.harness.judge.store.streams import NUMBERS, TEXTS
from streamgauge.harness.monitor import good
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.record import MS, observation

QUICK = observation([("text", 400), ("text", 450)], stop_reason="end_turn")
SLOW = observation([("text", 1_600), ("text", 1_650)])
BROKEN = observation([("text", 300)], outcome=Outcome.RESET)
NOTHING = observation([], outcome=Outcome.UNREACHABLE, ended=5_000)
LEFT = observation([("text", 900)], outcome=Outcome.CANCELLED)
CUT_OFF = observation([], outcome=Outcome.INTERRUPTED, ended=9_000)
WHOLE = observation([("text", 400)], answer="whole")
STALLED = observation([("text", 100), ("text", 4_000), ("text", 4_010)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # QUICK, SLOW, BROKEN, NOTHING, LEFT, CUT_OFF, WHOLE, STALLED: + good, - bad, . does not count
        ("ttft < 1.5s", "+---+..+"),
        ("ttft < 1500ms", "+---+..+"),
        ("ttft > 1s", "-+--" + "-..-"),  # a failed probe is not good because it took long
        ("completed", "++--..++"),
        ("not failed", "++--+.++"),
        ("ttft < 1.5s and completed", "+---...+"),
        ("ttft < 1.5s or completed", "++--+.++"),
        ("longest_stall < 2s and ttft < 1.5s or ttft > 1.5s", "++--+..-"),
        ("connect < 10ms", "..--...."),  # of a connection that was open already, there is no sample
    ],
)
def test_a_probe_is_good_bad_or_does_not_count(text: str, expected: str) -> None:
    probes: list[StreamObservation] = [QUICK, SLOW, BROKEN, NOTHING, LEFT, CUT_OFF, WHOLE, STALLED]
    streams = streams_of(probes, {*TEXTS} - {"oddities"}, NUMBERS)
    found = good.parse(text).of(streams, Reader())
    assert "".join({good.GOOD: "+", good.BAD: "-", good.UNKNOWN: "."}[each] for each in found) == expected


def test_a_probe_that_is_bad_only_since_this_machine_sent_it_late_does_not_count() -> None:
    late = [
        observation([("text", 1_600)], send_lag=300 * MS),
        observation([("text", 1_600)], send_lag=50 * MS),
        observation([("text", 300)], send_lag=300 * MS, outcome=Outcome.RESET),
    ]
    streams = streams_of(late, {*TEXTS} - {"oddities"}, NUMBERS)
    assert good.parse("ttft < 1.5s").of(streams, Reader()).tolist() == [good.UNKNOWN, good.BAD, good.BAD]


def test_of_several_texts_all_must_hold() -> None:
    streams = streams_of([QUICK, SLOW, LEFT], {*TEXTS} - {"oddities"}, NUMBERS)
    found = good.parse(["ttft < 1.5s or ttft > 9s", "completed"]).of(streams, Reader())
    assert found.tolist() == [good.GOOD, good.BAD, good.UNKNOWN]
