"""Each fault on a raw socket, byte for byte."""

import contextlib
import json
import re
import socket
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from streamgauge.harness.record.observation import Outcome
from tests.support import patient
from tests.support.command import PATIENCE
from tests.support.dialects import PATHS, TERMINAL, complaint, in_dialect
from tests.support.hostile import observe
from tests.support.reference import ReferenceServer, met, reference_server, refused

TOKENS = 12
QUICK = ("--preset", "exact", "--ttft", "10ms", "--itl", "3ms", "--tokens", str(TOKENS))
QUESTION = {"model": "m", "max_tokens": 100_000, "messages": [{"role": "user", "content": "How deep is it?"}]}
ENDLESS = {"x-gauge-ttft": "0ms", "x-gauge-itl": "2ms", "x-gauge-tokens": "100000"}
every_dialect = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK) as running:
        yield running


@dataclass(frozen=True)
class Raw:
    head: bytes
    writes: list[bytes]  # each HTTP chunk
    end: str  # how the response ended: whole · fin · reset

    @property
    def body(self) -> bytes:
        return b"".join(self.writes)


@contextlib.contextmanager
def asking(server: ReferenceServer, fault: str | None, **headers: str) -> Iterator[socket.socket]:
    """A connection on which the request for a plain stream has been sent."""
    body = json.dumps(QUESTION).encode()
    given = headers if fault is None else {"x-gauge-fault": fault, **headers}
    lines = ["POST /chat/stream HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in given.items()]
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        yield connection


def raw(server: ReferenceServer, fault: str | None, **headers: str) -> Raw:
    said, end = b"", ""
    with asking(server, fault, **headers) as connection:
        while not end:
            try:
                more = connection.recv(65_536)
            except ConnectionResetError:
                end = "reset"
                break
            said += more
            end = "whole" if said.endswith(b"\r\n0\r\n\r\n") else "" if more else "fin"
    head, _, rest = said.partition(b"\r\n\r\n")
    writes = []
    while rest and not rest.startswith(b"0\r\n"):
        size, _, rest = rest.partition(b"\r\n")
        writes.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return Raw(head, writes, end)


def events(body: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in body.removesuffix(b"\n\n").split(b"\n\n")]


def status(server: ReferenceServer, **question: Any) -> int:
    return patient.post(f"{server.url}/chat/stream", json=QUESTION | question).status_code


# What goes over the wire


def test_the_truth_log_has_the_tokens_that_were_sent_before_the_end(server: ReferenceServer) -> None:
    for fault in ("cut@3", "close@3", "reset@3"):
        answer = raw(server, fault)
        row = server.truth()[-1]
        assert answer.body.count(b"data: ") == len(row["sent"]) == row["tokens"] == 3
        assert row["outcome"] == "disconnected"


def test_ends_differ_in_how_the_message_and_the_connection_end(server: ReferenceServer) -> None:
    assert [raw(server, fault).end for fault in ("cut@3", "cut_event@3", "close@3", "reset@3", "error@3")] == [
        "whole",
        "whole",
        "fin",
        "reset",
        "whole",
    ]


def test_a_cut_announces_that_its_connection_closes(server: ReferenceServer) -> None:
    assert b"connection: close" in raw(server, "cut@3").head
    assert b"connection: close" not in raw(server, "crlf").head


def test_a_cut_falls_inside_an_event_or_a_character(server: ReferenceServer) -> None:
    clean = events(raw(server, None).body)
    inside = raw(server, "cut_event@3").body.removeprefix(b"".join(clean[:3]))
    assert inside
    assert clean[3].startswith(inside)
    assert inside != clean[3]
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        raw(server, "cut_character@3").body.decode()
    # If the next event has a character of several bytes, the cut is inside it.
    long = {"x-gauge-tokens": "200", "x-gauge-itl": "0ms"}
    said = raw(server, None, **long).body
    place = next(number for number, event in enumerate(events(said)) if not event.isascii())
    assert said.startswith(raw(server, f"cut_character@{place}", **long).body)


def test_silence_keeps_the_connection_open_and_sends_no_comment(server: ReferenceServer) -> None:
    with asking(server, "silence@1", **{"x-gauge-keep-alive": "10ms", "x-gauge-deadline": "3s"}) as connection:
        said = b""
        while not said.endswith(b"0\r\n\r\n"):  # until the deadline, whose error event is not sent either
            said += connection.recv(65_536)
    assert said.count(b"data: ") == 1
    assert b"keep-alive" not in said.partition(b"\r\n\r\n")[2].rpartition(b"data: ")[2]
    assert server.truth()[-1]["outcome"] == "failed"


def test_a_stall_delays_all_later_tokens_and_keep_alives_continue(server: ReferenceServer) -> None:
    answer = raw(server, "stall:200ms@3", **{"x-gauge-keep-alive": "20ms"})
    row = server.truth()[-1]
    for number in range(3, TOKENS):
        assert row["sent"][number] - row["due"] >= number * 3_000_000 + 200_000_000
    assert b": keep-alive\n\n" in answer.writes


def test_an_answer_that_fails_before_its_first_token_is_known_has_no_due_time(server: ReferenceServer) -> None:
    raw(server, "error@0")
    assert [server.truth()[-1][name] for name in ("outcome", "due", "sent")] == ["failed", None, []]


def test_a_blocked_loop_delays_every_stream(server: ReferenceServer) -> None:
    with asking(server, None, **ENDLESS, **{"x-gauge-stream": "other"}) as other:
        other.recv(100)
        raw(server, "block:150ms@3")
    (row,) = [row for row in server.truth() if row["client"] == "other"]
    assert max(later - at for at, later in zip(row["sent"], row["sent"][1:], strict=False)) >= 150_000_000


def test_headers_come_late_and_what_was_due_comes_with_them(server: ReferenceServer) -> None:
    seen = observe(server.url, headers={"x-gauge-fault": "slow_headers:200ms"})
    assert seen.headers_at is not None
    assert seen.sent_at is not None
    assert seen.headers_at - seen.sent_at >= 200_000_000
    assert server.truth()[-1]["due"] < server.truth()[-1]["sent"][0] - 150_000_000


def test_a_deaf_generation_continues_after_the_client_has_left(server: ReferenceServer) -> None:
    with asking(server, "deaf", **ENDLESS) as connection:
        said = connection.recv(65_536)
    found = re.search(rb"x-request-id: (\w+)", said)
    assert found
    url = f"{server.url}/streams/{found[1].decode()}"
    known = patient.get(url).json()["tokens"]["generated"]  # by now the server knows that its client has left
    give_up_at = time.monotonic() + PATIENCE
    while patient.get(url).json()["tokens"]["generated"] < known + 20:
        assert time.monotonic() < give_up_at, "it stopped"
    report = patient.post(f"{url}/cancel").json()
    assert report["state"] == "disconnected"
    assert report["tokens"]["wasted"] >= 20


def test_events_are_lost_repeated_and_preceded_by_garbage(server: ReferenceServer) -> None:
    clean = events(raw(server, None).body)
    assert events(raw(server, "lose@3").body) == clean[:3] + clean[4:]
    assert events(raw(server, "repeat@3").body) == [*clean[:4], *clean[3:]]
    assert events(raw(server, "garbage@3").body) == [*clean[:3], b"data: {\xff\xfe\n\n", *clean[3:]]


def test_lines_end_as_asked(server: ReferenceServer) -> None:
    clean = raw(server, None).body
    assert raw(server, "crlf").body == clean.replace(b"\n", b"\r\n")
    assert raw(server, "cr").body == clean.replace(b"\n", b"\r")
    assert raw(server, "bom, crlf").body == b"\xef\xbb\xbf" + clean.replace(b"\n", b"\r\n")


def test_comments_between_and_inside_events_change_nothing(server: ReferenceServer) -> None:
    said = raw(server, "comments").body
    assert said.startswith(b": between events\n\n: within one\ndata: ")
    assert re.sub(rb"(?m)^:.*\n(\n)?", b"", said) == raw(server, None).body


def test_a_compressed_stream_is_readable_event_by_event(server: ReferenceServer) -> None:
    answer = raw(server, "gzip")
    assert b"content-encoding: gzip" in answer.head
    unpacker = zlib.decompressobj(wbits=31)
    unpacked = [unpacker.decompress(piece) for piece in answer.writes]
    assert [piece for piece in unpacked if piece][:TOKENS] == events(raw(server, None).body)[:TOKENS]
    assert unpacker.eof


def test_buffers_hold_back_by_events_bytes_and_time(server: ReferenceServer) -> None:
    clean = raw(server, None).body
    several = raw(server, "batch:5")
    assert [write.count(b"\n\n") for write in several.writes] == [5, 5, 4]
    sized = raw(server, "buffer:50")
    assert all(len(write) % 50 == 0 for write in sized.writes[:-1])
    assert len(sized.writes) > 2
    timed = raw(server, "buffer_time:10m")  # longer than the answer, whose end flushes the buffer
    assert len(timed.writes) == 1
    assert several.body == sized.body == timed.body == clean


def test_a_timed_buffer_is_flushed_in_time(server: ReferenceServer) -> None:
    with asking(server, "buffer_time:20ms, stall:10m@3") as connection:
        said = b""
        while said.count(b"data: ") < 3:
            said += connection.recv(65_536)


@every_dialect
def test_without_a_terminator_everything_else_arrives(server: ReferenceServer, path: str) -> None:
    def lengths(headers: dict[str, str]) -> list[int]:
        answer = patient.post(
            f"{server.url}{path}", json=in_dialect(path, QUESTION | {"stream": True}), headers=headers
        )
        assert (TERMINAL[path] in answer.text) == (not headers)
        return [len(event) for event in events(answer.content)]

    clean, spoiled = lengths({}), lengths({"x-gauge-fault": "no_terminator"})
    assert clean[: len(spoiled)] == spoiled
    assert len(clean) - len(spoiled) == (2 if path == "/chat/stream" else 1)


def test_faults_happen_in_the_middle_of_tool_use(server: ReferenceServer) -> None:
    body = QUESTION | {"tools": ["gauge_level"]}
    clean = events(patient.post(f"{server.url}/chat/stream", json=body).content)
    cut = patient.post(f"{server.url}/chat/stream", json=body, headers={"x-gauge-fault": "cut@100"}).content
    assert any(event.startswith(b"event: tool_end") for event in events(cut))
    assert len(events(cut)) == len(clean) - 2  # all but the usage and the terminator


# With events that have ids


def ids(body: bytes) -> list[bytes | None]:
    found = [re.search(rb"(?m)^id: \w+:(\d+)$", event) for event in events(body)]
    return [each and each[1] for each in found]


def test_event_ids_are_duplicated_and_lost(server: ReferenceServer) -> None:
    keep = {"x-gauge-resumable": "1s"}
    clean = ids(raw(server, None, **keep).body)
    assert clean == [b"%d" % number for number in range(1, TOKENS + 3)]
    assert ids(raw(server, "duplicate_id@3", **keep).body) == [*clean[:3], b"3", *clean[4:]]
    assert ids(raw(server, "lost_id@3", **keep).body) == [*clean[:3], None, *clean[4:]]
    assert ids(raw(server, "repeat@3", **keep).body) == [*clean[:4], b"4", *clean[4:]]
    assert ids(raw(server, "lose@3", **keep).body) == [*clean[:3], *clean[4:]]


@pytest.mark.parametrize("fault", ["cut@3", "close@3", "reset@3", "cut_event@3"])
def test_an_answer_that_can_be_resumed_survives_the_end_of_its_connection(server: ReferenceServer, fault: str) -> None:
    begun = events(raw(server, fault, **{"x-gauge-resumable": "1m"}).body)[:3]
    last = re.findall(rb"(?m)^id: (.*)$", begun[-1])[0].decode()
    rest = events(raw(server, None, **{"last-event-id": last}).body)
    assert ids(b"".join(begun + rest)) == [b"%d" % number for number in range(1, TOKENS + 3)]
    assert [row["outcome"] for row in server.truth() if row["id"] == last.partition(":")[0]] == ["completed"]


def test_a_request_that_resumes_an_answer_can_get_faults_too(server: ReferenceServer) -> None:
    begun = events(raw(server, "reset@3", **{"x-gauge-resumable": "1m"}).body)
    back = {"last-event-id": re.findall(rb"(?m)^id: (.*)$", begun[-1])[0].decode()}
    refused = patient.post(f"{server.url}/chat/stream", json=QUESTION, headers={"x-gauge-fault": "http_503:2s", **back})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert raw(server, "crlf", **back).body == raw(server, None, **back).body.replace(b"\n", b"\r\n")


# Statuses


@every_dialect
@pytest.mark.parametrize("stream", [True, False])
def test_a_status_comes_in_the_dialects_shape_with_retry_after_if_asked(
    client: httpx.Client, path: str, stream: bool
) -> None:
    for fault, retry_after in (("http_429", None), ("http_429:1500ms", "2"), ("http_529:30s", "30")):
        body = in_dialect(path, QUESTION | {"stream": stream})
        answer = client.post(path, json=body, headers={"x-gauge-fault": fault})
        assert answer.status_code == int(fault[5:8])
        assert answer.headers.get("retry-after") == retry_after
        assert "was asked for" in complaint(answer)


@every_dialect
@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("rest", "no fault called 'rest'; there are http_400, "),
        ("reset@x", "'x' is not allowed: write a whole number from 0 to 100000"),
        ("stall@3", "stall lacks its argument: stall:DURATION[@K]"),
        ("stall:2@3", "'2' is not a duration"),
        ("crlf@3", "crlf does not happen at a token: leave @3 out"),
        ("reset:0.01", "reset takes no argument: leave :0.01 out"),
        ("block:11s", "at most 10s"),
        ("batch:0", "write a whole number from 1 to 1000"),
        ("buffer:9999999", "write a whole number from 1 to 1048576"),
    ],
)
def test_a_wrong_fault_header_is_refused_with_what_to_write(
    client: httpx.Client, path: str, header: str, said: str
) -> None:
    answer = client.post(path, json=in_dialect(path, QUESTION | {"stream": True}), headers={"x-gauge-fault": header})
    assert answer.status_code == 400
    assert complaint(answer).startswith("header x-gauge-fault: ")
    assert said in complaint(answer)


def test_an_answer_that_is_not_streamed_can_get_statuses_only(server: ReferenceServer) -> None:
    answer = patient.post(
        f"{server.url}/chat/stream", json=QUESTION | {"stream": False}, headers={"x-gauge-fault": "reset"}
    )
    assert answer.status_code == 400
    assert "reset needs a streamed answer" in answer.text


# By rule


def test_rules_hit_the_answers_that_they_name_and_are_counted() -> None:
    with reference_server(*QUICK, "--fault", "http_503:2s:every=3", "--fault", "reset@1:every=2") as server:
        statuses = [status(server, stream=False) for _ in range(6)]
        assert statuses == [200, 200, 503, 200, 200, 503]
        assert [observe(server.url).outcome.value for _ in range(4)] == ["completed", "reset", "refused", "reset"]
        # A request with the header gets only the faults that it names, also if it names none.
        for _ in range(6):
            assert observe(server.url, headers={"x-gauge-fault": " "}).outcome is Outcome.COMPLETED
        assert met(server) == {"http_503": 3, "reset": 2}


def test_a_wrong_rule_ends_the_start_with_one_line() -> None:
    ended = refused("--port", "0", "--fault", "rest:0.01")
    assert ended.returncode == 2
    assert ended.stderr.startswith("streamgauge serve: Invalid value for '--fault': no fault called 'rest'; there are ")
    assert ended.stderr.count("\n") == 1
