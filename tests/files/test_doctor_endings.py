"""`doctor` judges the ends of answers that the server or the path ended, and of no others."""

from dataclasses import replace

import pytest

from streamgauge.harness.doctor.checks import CHECKS
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.reach import Reach
from streamgauge.harness.doctor.result import Result, Status
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.probe.events import Taken
from streamgauge.harness.record.observation import Outcome
from tests.support.record import observation

EVENT = Taken(100.0, 8, "text", "", 0, content=True)
WHOLE = Seen(
    "POST", "http://h/", 200, {"content-type": "text/event-stream"}, b"data: x\n\n", observation(), events=(EVENT,)
)
TOTAL = "total: it was not over after 30 s"


def ended(outcome: Outcome, detail: str = "", body: bytes = b"data: x\n\ndata: y") -> Seen:
    return replace(WHOLE, record=observation(outcome=outcome, detail=detail), body=body)


CUT = ended(Outcome.TRUNCATED, "the answer ended without its terminal event")
STOPPED, TOO_LONG = ended(Outcome.INTERRUPTED), ended(Outcome.TIMED_OUT, TOTAL)


def look(check: str, **seen: Seen) -> Result:
    others = {name: WHOLE for name in ("as_is", "warm", "identity") if name not in seen}
    evidence = Evidence("http://h/", "openai_chat", Reach("h"), others | seen)
    return CHECKS[check].look(evidence)


def test_an_endpoint_that_never_sends_a_terminal_event_is_told_apart_from_one_answer_that_was_cut() -> None:
    never = look("end", as_is=CUT, warm=CUT, identity=CUT)
    assert never.headline == "The answer has no terminal event: a cut cannot be told from an end"
    once = look("end", identity=CUT)
    assert (once.status, once.headline) == (Status.FAIL, "An answer was cut, and then ended like a whole one")
    assert once.says == f"1 of 3 answers did not come to an end: {CUT.record.detail}; 2 answers had it"
    by_caddy = look("end", identity=replace(CUT, headers={"server": "Caddy"}))
    assert by_caddy.headline.endswith(": Caddy, request_buffers")
    assert [fix.line for fix in by_caddy.fixes] == [
        "Caddy: request_buffers 64KiB  # before Caddy 2.6.3: buffer_requests"
    ]


@pytest.mark.parametrize("left", [STOPPED, TOO_LONG], ids=["stopped", "too long"])
def test_an_answer_that_doctor_left_is_neither_a_failure_nor_a_success(left: Seen) -> None:
    assert look("end", as_is=left, warm=left, identity=left).status is Status.UNKNOWN
    assert look("end", identity=left).says.startswith("2 answers came to their end")
    assert look("sse", as_is=left).status is Status.PASS, "an event that was left in its middle is not at fault"
    for name in ("slow_reader", "whole", "resume", "error"):
        assert look("stream_error" if name == "error" else name, **{name: left}).status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("detail", "says"),
    [
        ("total: it was not over after 35 s", "it was not over after 35 s"),
        ("first token: no content came for 33 s", "no content came for 33 s"),
        ("idle: nothing arrived for 32 s", "nothing arrived for 32 s"),
    ],
)
def test_a_model_that_is_silent_for_longer_than_doctor_waits_is_warned_of_and_has_not_failed(
    detail: str, says: str
) -> None:
    nothing = replace(ended(Outcome.TIMED_OUT, detail, b": hello"), events=())
    found = look("end", as_is=nothing)
    assert (found.status, found.says) == (Status.WARN, f"{says}, and doctor did not wait longer")
    assert (look("sse", as_is=nothing).status, look("streaming", as_is=nothing, warm=nothing).says) == (
        Status.UNKNOWN,
        says,
    ), "half an event is the server's fault only if the server ended it"
    assert look("whole", whole=nothing).status is Status.UNKNOWN


def test_an_answer_that_stands_still_after_it_has_begun_is_a_failure() -> None:
    found = look("end", as_is=ended(Outcome.TIMED_OUT, "idle: nothing arrived for 3 s"))
    assert (found.status, found.says) == (
        Status.FAIL,
        "1 of 3 answers did not come to an end: nothing arrived for 3 s",
    )
