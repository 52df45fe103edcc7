"""`doctor` in front of the reference server: with each of its faults the right checks fail, and only those."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent.pool import Pool

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Target, Timeouts
from streamgauge.reference_server.faults import catalogue
from tests.support.busy import first
from tests.support.command import COLUMNS, PATIENCE, invoke, started, until
from tests.support.diagnosed import PLAIN, diagnosed, named, says, wrong
from tests.support.late import Late
from tests.support.reference import ReferenceServer, counts, reference_server, wait_for

experiments, result = Late("streamgauge.harness.doctor.experiments"), Late("streamgauge.harness.doctor.result")

SHORT = Target(timeouts=Timeouts(idle=Duration(8_000_000_000)))
SECRET = "sk-staging-0123456789"
STEADY = ("--preset", "exact", "--ttft", "100ms", "--itl", "30ms", "--tokens", "60")


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with first(), reference_server(*STEADY) as running:
        yield running


# Fault → the checks that fail, and those that warn.
FAULTS: dict[str, tuple[list[str], list[str]]] = {
    **{f"http_{status}": ([], []) for status in (400, 401, 403, 404, 413)},
    **{f"http_{status}": ([], ["retry_after"]) for status in (429, 503, 529)},
    "http_429:3s": ([], []),
    "http_500": (["answers"], []),
    "http_504": (["answers"], []),
    "slow_headers:300ms": ([], []),
    "stall:1s@5": ([], ["steady"]),
    "error@5": (["end"], []),
    "cut@5": (["end"], []),
    "close@5": (["end"], []),
    "reset@5": (["end"], []),
    "silence@5": (["end"], []),
    "cut_event@5": (["end"], []),
    "cut_character@5": (["end"], []),
    "no_terminator": (["end"], []),
    "garbage@5": (["sse"], []),
    "batch:15": (["streaming"], []),
    "batch:5": ([], ["streaming"]),
    "buffer:4096": (["streaming"], []),
    "buffer:100000": (["streaming"], []),
    "buffer_time:300ms": (["streaming"], []),
    "gzip": (["compression"], []),
    "comments": ([], []),
    "crlf": ([], []),
    "cr": ([], []),
    "bom": ([], []),
    "repeat@5": ([], []),
    "lose@5": ([], []),
    "duplicate_id@5": ([], []),
    "lost_id@5": ([], []),
}
REFUSED = {fault for fault in FAULTS if fault.startswith("http_4") or fault in {"http_503", "http_529"}}
ELSEWHERE = {"block", "deaf", "half_cancel"}  # faults with tests of their own


@pytest.fixture(scope="module")
def diagnoses(server: ReferenceServer) -> dict[str, Any]:
    """With each fault; several at a time, since they mostly wait."""

    def look(fault: str) -> Any:
        headers = [f"x-gauge-fault: {fault}", *(["x-gauge-resumable: 30s"] if "_id@" in fault else [])]
        return diagnosed(server.url, *headers, experiments=(*PLAIN, "resume"), target=SHORT)

    return dict(zip(FAULTS, Pool(6).map(look, FAULTS), strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_fails_the_right_checks_and_only_those(diagnoses: dict[str, Any], fault: str) -> None:
    found = diagnoses[fault]
    assert (named(found, result.Status.FAIL), named(found, result.Status.WARN)) == FAULTS[fault], found.sentence
    assert found.exit_code == (1 if FAULTS[fault][0] else 3 if fault in REFUSED else 0)


# What takes 20 s each: the headers of each question, and the experiments; (): all there are.
LONG: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "slow to begin": (("x-gauge-ttft: 5100ms", "x-gauge-tokens: 25"), (*PLAIN, "leave", "error")),
    "resumable": (("x-gauge-resumable: 30s", "x-gauge-tokens: 250"), ("ordinary", "leave", "resume")),
    "healthy": ((), ()),
    "deaf": (("x-gauge-fault: deaf", "x-gauge-tokens: 350"), ("ordinary", "leave")),
}


@pytest.fixture(scope="module")
def long() -> dict[str, Any]:
    """All at once, each of a server of its own: of a shared one, the tokens of the others would be counted, too."""

    def look(name: str) -> Any:
        headers, chosen = LONG[name]
        with reference_server(*STEADY) as own:
            return diagnosed(own.url, *headers, experiments=chosen or tuple(experiments.EXPERIMENTS))

    with first():
        return dict(zip(LONG, Pool(len(LONG)).map(look, LONG), strict=True))


def test_a_server_that_is_slow_to_begin_is_asked_once_less(long: dict[str, Any], diagnoses: dict[str, Any]) -> None:
    found = long["slow to begin"]
    assert (wrong(found), {*found.evidence.untried}) == ([], {"identity"})
    assert found.evidence.seen["error"].ms["ended"] < 5_000, "of the reference server, an error comes at once"
    assert "identity" not in diagnoses["slow_headers:300ms"].evidence.untried


def test_there_is_a_diagnosis_of_every_fault() -> None:
    assert {re.split("[:@]", fault)[0] for fault in FAULTS} | ELSEWHERE == {*catalogue.FAULTS}


def test_an_answer_that_can_be_resumed_is_seen_to_continue_and_may_wait_for_its_reader(long: dict[str, Any]) -> None:
    found = long["resumable"]
    assert (wrong(found), found.status_of("resume")) == ([], result.Status.PASS)
    assert says(found, "leaving").endswith("perhaps for a person who comes back: its answers can be resumed")


def test_a_server_that_stands_still_is_warned_of(server: ReferenceServer) -> None:
    found = diagnosed(server.url, "x-gauge-fault: block:1s@5", "x-gauge-tokens: 25")
    assert wrong(found) == ["steady"]


def test_a_healthy_endpoint_passes_with_all_that_is_asked(long: dict[str, Any]) -> None:
    found = long["healthy"]
    assert (wrong(found), found.exit_code) == ([], 0)
    passed = named(found, result.Status.PASS)
    assert {
        "streaming",
        "end",
        "leaving",
        "cancel",
        "together",
        "whole",
        "bad_request",
        "stream_error",
        "slow_reader",
    } <= {*passed}
    assert found.evidence.requests <= 30


def test_what_an_endpoint_speaks_is_recognised_within_the_budget(server: ReferenceServer) -> None:
    short = ("x-gauge-itl: 5ms", "x-gauge-tokens: 25")
    for path, protocol in (
        ("", "anthropic_messages"),
        ("/v1/chat/completions", "openai_chat"),
        ("/chat/stream", "plain_sse"),
    ):
        found = diagnosed(f"{server.url}{path}", *short, protocol=None)
        assert (found.evidence.protocol, found.exit_code) == (protocol, 0), found.sentence


def test_the_screen_says_the_most_serious_first_and_never_a_secret(
    server: ReferenceServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", SECRET)
    words = (
        "doctor",
        server.url,
        "--protocol",
        "openai_chat",
        "--header",
        "authorization: Bearer ${KEY}",
        "--budget",
        3,
    )
    shown = invoke(*words, "--header", "x-gauge-fault: cut@5")
    assert shown.exit_code == 1
    assert shown.output.startswith("✗ FAIL: The answer has no terminal event: a cut cannot be told from an end\n")
    assert shown.output.index("✓ PASS") < shown.output.index("? UNKNOWN")
    assert SECRET not in shown.output
    told = json.loads(invoke(*words, "--json").output)
    assert (told["exit_code"], told["status"], told["requests"] <= 4) == (0, "pass", True)
    assert told["counts"] == {
        "fail": 0,
        "warn": 0,
        "unknown": told["counts"]["unknown"],
        "pass": told["counts"]["pass"],
    }
    assert SECRET not in json.dumps(told)


def test_what_cannot_be_looked_at_is_no_failure_and_no_success(server: ReferenceServer) -> None:
    closed = diagnosed("http://127.0.0.1:9")
    assert (closed.exit_code, closed.sentence) == (
        3,
        "Could not look: no HTTP answer: cannot connect to 127.0.0.1:9: ECONNREFUSED (Connection refused)",
    )
    shown = invoke("doctor", "http://127.0.0.1:9").output
    assert re.search(r"none of the other \d+ checks could look", shown)
    assert "✓" not in shown
    assert shown.count("UNKNOWN") == 1
    failed = invoke("doctor", server.url, "--protocol", "openai_chat", "--header", "x-gauge-fault: http_500")
    assert failed.exit_code == 1
    assert re.search(r"none of the other \d+ checks could look", failed.output)
    assert "UNKNOWN" not in failed.output
    short = diagnosed(server.url, "x-gauge-tokens: 3")
    assert (short.exit_code, wrong(short)) == (3, [])
    assert short.sentence.startswith("Could not tell whether it streams: only 3 content events came")


def test_a_mistake_in_the_call_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for words, message in (
        (("nonsense",), "not a URL"),
        (("http://127.0.0.1:9", "--config", "none.toml"), "no such config file"),
        (("http://127.0.0.1:9", "--origin", "there"), "not a URL"),
        (("http://127.0.0.1:9", "--header", "x: ${MISSING_KEY}"), "MISSING_KEY"),
    ):
        told = invoke("doctor", *words)
        assert (told.exit_code, message in told.output, told.output.count("\n")) == (2, True, 1), told.output
    assert COLUMNS == 80


def test_a_server_that_does_not_notice_that_people_leave_goes_on_generating(long: dict[str, Any]) -> None:
    found = long["deaf"]
    assert found.status_of("leaving") is result.Status.FAIL
    assert found.sentence == "The server goes on generating for people who have left"


def test_ctrl_c_leaves_what_was_found(server: ReferenceServer, tmp_path: Path) -> None:
    call = "from streamgauge.harness.cli import main; main(prog_name='streamgauge')"
    words = ["doctor", server.url, "--protocol", "openai_chat", "--header", "x-gauge-itl: 100ms"]
    completed = "reference_streams_ended_total:completed"
    wait_for(lambda: server.active() == 0)  # another test's answer would be taken for one of this test
    before = counts(server.url).get(completed, 0)
    with started([sys.executable, "-c", call, *words], stdout=subprocess.PIPE, cwd=tmp_path) as command:
        until(lambda: counts(server.url).get(completed, 0) > before and server.active())  # one is read, another begun
        command.send_signal(signal.SIGINT)
        said, _ = command.communicate(timeout=PATIENCE)
    assert command.returncode == 130
    assert "stopped before all was asked" in said
    assert re.search("PASS +The endpoint answers", said)
