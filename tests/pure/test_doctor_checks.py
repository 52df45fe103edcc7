"""What single checks of `doctor` make of evidence that real servers rarely give."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from streamgauge.harness.doctor.checks import CHECKS
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.reach import Reach
from streamgauge.harness.doctor.result import Result
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.probe.events import Taken
from streamgauge.harness.record.observation import Outcome
from tests.support.record import observation


def answer(
    moments: Sequence[float] = tuple(range(100, 1_100, 25)),
    headers: Mapping[str, str] = {},
    *,
    status: int = 200,
    body: bytes = b"",
    due: float = 0.0,
    **record: Any,
) -> Seen:
    """A stream with a content event at each moment, ms, after a head at 1 ms."""
    events = tuple(Taken(at, 10, "text", "word", number, True, "word") for number, at in enumerate(moments))
    ms = {"sent": 0.0, "headers": 1.0, "ended": moments[-1] + 1 if moments else 2.0}
    kept = observation([("text", at) for at in moments], **record)
    return Seen("POST", "http://h/", status, headers, body, kept, events, ms, due=due)


def look(check: str, seen: Mapping[str, Seen], **figures: float) -> Result:
    return CHECKS[check].look(Evidence("http://h/", "openai_chat", Reach("h"), seen, figures=figures))


@pytest.mark.parametrize(("begins", "status"), [(100, "pass"), (1_200, "unknown"), (5_000, "unknown")])
def test_a_second_answer_that_began_after_the_first_one_had_ended_proves_nothing(begins: float, status: str) -> None:
    heavy = answer([begins, begins + 20], due=500)
    assert look("together", {"as_is": answer(), "light": answer(), "heavy": heavy}).status == status


@pytest.mark.parametrize(
    ("soon", "late", "status"), [(10, 10, "pass"), (0, 0, "unknown"), (-90, -90, "unknown"), (10, 0, "unknown")]
)
def test_counters_that_did_not_count_our_answer_say_nothing_of_leaving(soon: int, late: int, status: str) -> None:
    figures = {f"active_{when}": 0.0 for when in ("before", "soon", "late")}
    counted = {"generated_before": 100.0, "generated_soon": 100.0 + soon, "generated_late": 100.0 + late}
    left = answer(range(0, 100, 20), outcome=Outcome.CANCELLED)
    assert look("leaving", {"as_is": answer(), "leave": left}, **figures, **counted).status == status


@pytest.mark.parametrize(
    ("allowed", "status"),
    [("*", "pass"), ("https://app.example", "pass"), ("https://elsewhere.example", "unknown"), ("", "unknown")],
)
def test_an_origin_that_is_not_ours_may_be_the_right_one(allowed: str, status: str) -> None:
    headers = {"access-control-allow-origin": allowed, "access-control-allow-headers": "*"}
    assert look("cors", {"as_is": answer(), "preflight": answer([], headers, status=204)}).status == status


@pytest.mark.parametrize(
    ("told", "status"),
    [("7", "pass"), ("Sat, 28 Nov 2026 05:00:00 GMT", "pass"), ("soon", "warn"), ("-1", "warn"), ("", "warn")],
)
def test_a_refusal_must_say_a_time(told: str, status: str) -> None:
    refused = answer([], {"retry-after": told}, status=429, outcome=Outcome.REFUSED)
    assert look("retry_after", {"as_is": refused}).status == status


def test_one_answer_of_several_that_cannot_be_read_is_not_passed_over() -> None:
    bad = answer(outcome=Outcome.MALFORMED, detail="bytes of no format")
    seen = {"as_is": answer(), "warm": bad}
    assert look("end", seen).says == "1 of 2 answers cannot be read to the end: bytes of no format"
    assert (look("end", seen).status, look("sse", seen).status) == ("unknown", "fail")


def test_an_answer_of_more_bytes_than_doctor_reads_is_no_failure_of_the_server() -> None:
    long = answer(outcome=Outcome.MALFORMED, detail="the answer is longer than 500,000 bytes")
    assert (look("end", {"as_is": long}).status, look("sse", {"as_is": long}).status) == ("unknown", "pass")


def test_an_answer_with_a_length_is_held_by_the_application_and_no_proxy_is_to_change() -> None:
    whole = answer([900.0] * 40, {"content-length": "4000", "server": "nginx"})
    held = look("streaming", {"as_is": whole, "warm": whole})
    assert (held.status, [fix.line for fix in held.fixes]) == ("warn", ["the application: flush each event"])


@pytest.mark.parametrize(
    ("location", "told"),
    [("/v1/", False), ("http://h/v1/", False), ("//x/v1/", True), ("https://h/v1/", True), ("http://[", True)],
)
def test_only_a_redirect_to_another_origin_drops_the_key(location: str, told: bool) -> None:
    moved = answer([], {"location": location}, status=307, outcome=Outcome.REFUSED)
    found = look("redirect", {"as_is": moved})
    assert (found.status, "drop `authorization`" in found.says) == ("warn", told)


@pytest.mark.parametrize(("told", "status"), [("no", "pass"), ("yes", "warn"), ("off", "unknown"), ("", "unknown")])
def test_nginx_knows_two_values_of_its_header(told: str, status: str) -> None:
    assert look("x_accel_buffering", {"as_is": answer(headers={"x-accel-buffering": told})}).status == status


@pytest.mark.parametrize(
    ("in_front", "headline", "line"),
    [
        ("nginx", "A proxy holds the stream back: nginx, proxy_buffering", "nginx: proxy_buffering off;"),
        (
            "uvicorn",
            "A proxy holds the stream back",
            "nginx: proxy_buffering off;",
        ),  # a proxy that names itself nowhere
    ],
)
def test_a_server_that_sends_one_by_one_is_not_among_those_to_change(in_front: str, headline: str, line: str) -> None:
    held, free = answer([2_000.0] * 40, {"server": in_front}), answer(headers={"server": "uvicorn"})
    found = look("streaming", {"as_is": held, "warm": held, "origin": free})
    assert (found.status, found.headline) == ("fail", headline)
    assert found.fixes[0].line.startswith(line)
    assert not any("Starlette" in fix.line for fix in found.fixes)


@pytest.mark.parametrize(
    ("outcome", "connected_at", "status"),
    [(Outcome.RESET, None, "pass"), (Outcome.RESET, 1_000_000, "fail"), (Outcome.UNREACHABLE, None, "fail")],
)
def test_a_question_into_a_closing_connection_is_no_answer_that_was_cut(
    outcome: Outcome, connected_at: int | None, status: str
) -> None:
    lost = answer([], outcome=outcome, detail="the connection broke", connected_at=connected_at)
    lost = dataclasses.replace(lost, status=None)
    found = {check: look(check, {"as_is": answer(), "warm": lost}).status for check in ("end", "kept_connection")}
    assert found == {"end": status, "kept_connection": "warn"}
