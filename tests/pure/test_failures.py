"""Why streams failed: what counts as one way, how it is worded, and when a run is hopeless."""

import pytest

from streamgauge.harness.record.failure import Failure, check, merged
from streamgauge.harness.record.observation import FAILURES, Outcome, StreamObservation
from streamgauge.harness.run.live import LiveProgress
from tests.support.record import observation

KEY = 'HTTP 401: {"error": "no key", "id": "req_%d"}'


def refused(number: int, status: int = 401, words: str = KEY) -> StreamObservation:
    return observation([], outcome=Outcome.REFUSED, http_status=status, detail=words % number, ended=2)


def test_failures_that_differ_only_in_numbers_are_one_in_the_words_of_the_most_frequent() -> None:
    found = merged(
        [
            Failure("refused", 401, KEY % 1, 3),
            Failure("refused", 503, "HTTP 503: busy", 6),
            Failure("refused", 401, KEY % 2, 4),
            Failure("timed_out", None, "idle: no byte for 30 s", 1),
        ]
    )
    assert [(each.outcome, each.n) for each in found] == [("refused", 7), ("refused", 6), ("timed_out", 1)]
    assert str(found[0]) == '7 refused: HTTP 401: {"error": "no key", "id": "req_2"}'


def test_a_message_of_any_length_is_worded_in_one_pass() -> None:
    long = "x" * 1_000_000  # a server's own words: looking for a digit from each of its letters on takes an hour
    found = merged([Failure("refused", 500, f"{long} {long}{at} {at}{long}", 1) for at in range(2)])
    assert [each.n for each in found] == [2]


def test_another_status_outcome_or_message_is_another_failure() -> None:
    known = Failure("refused", 401, "no key", 1)
    others = [known._replace(http_status=403), known._replace(outcome="malformed"), known._replace(detail="wrong key")]
    assert len(merged([known, *others])) == 4


@pytest.mark.parametrize("outcome", sorted(FAILURES))
def test_every_failure_has_something_to_check(outcome: Outcome) -> None:
    assert check(Failure(outcome, None, "", 1))


def test_a_run_is_hopeless_when_its_first_twenty_streams_fail_alike() -> None:
    live, said = LiveProgress(), []
    for number in range(20):
        live.add([refused(number)])
        said.append(live.hopeless or "")
    assert said[:-1] == [""] * 19
    assert said[-1].startswith("the first 20 streams all failed alike, refused: HTTP 401: ")
    assert said[-1].endswith("; check the key: headers in [target] of streamgauge.toml")


def test_streams_of_a_warm_up_can_be_hopeless_too() -> None:
    live = LiveProgress(measured_from=10**18)
    live.add(refused(number) for number in range(20))
    assert live.hopeless


@pytest.mark.parametrize(
    "other",
    [
        observation(),
        observation([], outcome=Outcome.CANCELLED, ended=2),  # somebody who left might have got an answer
        refused(1, 429, "HTTP 429: slow down %d"),
        observation([], outcome=Outcome.RESET, detail="the server closed the connection", ended=2),
    ],
)
def test_one_stream_that_ends_otherwise_is_hope(other: StreamObservation) -> None:
    live = LiveProgress()
    live.add([other, *(refused(number) for number in range(100))])
    assert live.hopeless is None


def test_streams_that_the_end_of_the_run_interrupts_say_nothing() -> None:
    live = LiveProgress()
    live.add(observation([], outcome=Outcome.INTERRUPTED, ended=2) for _ in range(30))
    assert live.hopeless is None


def test_each_way_to_fail_is_told_once_while_the_run_goes_on() -> None:
    live = LiveProgress()
    live.add([observation(), refused(1), refused(2)])
    first = live.lines(3, 5)
    assert len(first) == 2
    assert first[1].strip() == "2 refused: " + KEY % 1
    live.add([refused(3), refused(4, 503, "HTTP 503: busy %d")])
    assert [line.strip() for line in live.lines(6, 5)[1:]] == ["1 refused: HTTP 503: busy 4"]
    assert len(live.lines(9, 5)) == 1


def test_a_server_that_words_each_failure_anew_fills_neither_screen_nor_memory() -> None:
    live = LiveProgress()
    words = ["".join(chr(97 + int(digit)) for digit in f"{number:05d}") for number in range(3_000)]
    for some in (words[:1_500], words[1_500:]):
        live.add(refused(0, 500, f"{word} %d") for word in some)
        live.lines(3, 5)
    assert len(live._ways) <= 1_000
    assert len(live._told) <= 10
