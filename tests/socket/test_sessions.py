"""Resumable streams in one process: missed events come again, byte for byte; a generation outlives its subscribers."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.harness.record.observation import Outcome
from streamgauge.reference_server.sessions import registry
from streamgauge.reference_server.sessions.log import EventLog, LogLimits, Subscriber
from tests.support import patient
from tests.support.dialects import PATHS, in_dialect
from tests.support.hostile import observe
from tests.support.reference import ReferenceServer, counts, named, reference_server, wait_for, whole_events

QUICK = ("--preset", "exact", "--ttft", "5ms", "--itl", "2ms", "--tokens", "30")
QUESTION = {"messages": [{"role": "user", "content": "How deep is it?"}], "model": "m", "max_tokens": 100_000}
STREAM = QUESTION | {"stream": True}
KEPT = {"x-gauge-resumable": "30s"}
SLOW = {"x-gauge-itl": "100ms"}  # 3 s: who leaves at once leaves in the middle, also on a busy machine
ENDLESS = {"x-gauge-ttft": "0ms", "x-gauge-itl": "2ms", "x-gauge-tokens": "100000"}

every_dialect = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK) as running:
        yield running


def dropped(client: httpx.Client, path: str, after: int, **headers: str) -> tuple[str, str]:
    """Read this many events and close the connection. The stream's id, and those events."""
    with client.stream("POST", path, json=in_dialect(path, STREAM), headers=KEPT | headers) as answer:
        said = ""
        for piece in answer.iter_text():
            said += piece
            if said.count("\n\n") >= after:
                break
        return named(answer), "".join(whole_events(said)[:after])


# Missed events


@every_dialect
def test_a_client_that_was_dropped_anywhere_gets_exactly_the_rest(client: httpx.Client, path: str) -> None:
    whole = client.post(path, json=in_dialect(path, STREAM), headers=KEPT)
    told = whole_events(whole.text)
    assert [event.partition("id: ")[2].partition("\n")[0] for event in told] == [
        f"{named(whole)}:{number}" for number in range(1, len(told) + 1)
    ]
    assert ["retry: 500\n" in event for event in told] == [True] + [False] * (len(told) - 1)
    for number in range(1, len(told)):
        rest = client.post(path, json=in_dialect(path, STREAM), headers={"last-event-id": f"{named(whole)}:{number}"})
        assert (rest.text, named(rest)) == ("".join(told[number:]), named(whole))


@every_dialect
def test_a_client_that_comes_back_in_the_middle_follows_live_to_the_end(client: httpx.Client, path: str) -> None:
    id, said = dropped(client, path, 4, **SLOW)
    rest = client.post(path, json=in_dialect(path, STREAM), headers={"last-event-id": f"{id}:4"}).text
    assert said + rest == client.get(f"/streams/{id}/events").text
    assert client.get(f"/streams/{id}").json()["tokens"] == {"generated": 30, "sent": 30, "wasted": 0}


@pytest.mark.parametrize(
    "protocol", ["plain_sse", "anthropic_messages", "openai_chat", "openai_responses", "ai_sdk", "ag_ui"]
)
def test_event_ids_change_nothing_for_a_client_that_does_not_use_them(server: ReferenceServer, protocol: str) -> None:
    seen = observe(server.url, protocol=protocol, headers=KEPT)
    assert (seen.outcome, sum(chunk.kind == "text" for chunk in seen.chunks)) == (Outcome.COMPLETED, 30)


def test_several_clients_read_one_generation_each_from_its_own_place(client: httpx.Client) -> None:
    id, _ = dropped(client, "/chat/stream", 3, **SLOW)
    with contextlib.ExitStack() as stack:
        readers = [
            stack.enter_context(client.stream("GET", f"/streams/{id}/events", headers={"last-event-id": f"{id}:{k}"}))
            for k in (1, 2, 3)
        ]
        assert client.get("/metrics").text.count("reference_log_readers 3.0") == 1
        texts = [reader.read().decode() for reader in readers]
    whole = client.get(f"/streams/{id}/events").text
    assert texts == ["".join(whole_events(whole)[k:]) for k in (1, 2, 3)]


def test_an_event_source_that_misses_nothing_gets_204_and_stops(client: httpx.Client) -> None:
    whole = client.post("/chat/stream", json=STREAM, headers=KEPT)
    last = f"{named(whole)}:{len(whole_events(whole.text))}"
    for answer in (
        client.get(f"/streams/{named(whole)}/events", headers={"last-event-id": last}),
        client.post("/chat/stream", json=STREAM, headers={"last-event-id": last}),
    ):
        assert (answer.status_code, answer.text) == (204, "")


@pytest.mark.parametrize("place", ["req_0:1", "7", "req_0:-1", "\u0664", "req_0:" + "9" * 40])
def test_an_unknown_event_id_is_not_found(client: httpx.Client, place: str) -> None:
    asked = [(b"Last-Event-ID", place.encode())]
    answer = client.post("/v1/messages", json=STREAM, headers=asked)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
    assert client.get("/streams/req_0/events", headers=asked).status_code in {400, 404}


def test_an_event_of_another_dialect_or_stream_is_refused(client: httpx.Client) -> None:
    id, _ = dropped(client, "/chat/stream", 2)
    assert client.post("/v1/messages", json=STREAM, headers={"last-event-id": f"{id}:1"}).status_code == 404
    assert client.get("/streams/req_1/events", headers={"last-event-id": f"{id}:1"}).status_code == 400


def test_a_stream_that_is_not_resumable_has_no_ids_and_is_not_kept(client: httpx.Client) -> None:
    answer = client.post("/chat/stream", json=STREAM)
    assert "id:" not in answer.text
    assert client.get(f"/streams/{named(answer)}/events").status_code == 404
    assert client.get(f"/streams/{named(answer)}/audit").status_code == 404


def test_an_answer_that_a_fault_broke_is_resumed_and_not_broken_twice(client: httpx.Client) -> None:
    headers = KEPT | {"x-gauge-fault": "reset@8"}
    said = ""
    with (
        contextlib.suppress(httpx.ReadError),
        client.stream("POST", "/chat/stream", json=STREAM, headers=headers) as answer,
    ):
        for piece in answer.iter_text():
            said += piece
    assert said.count("\n\n") == 8
    rest = client.post("/chat/stream", json=STREAM, headers=headers | {"last-event-id": f"{named(answer)}:8"}).text
    assert rest.endswith("data: [DONE]\n\n")
    assert said + rest == client.get(f"/streams/{named(answer)}/events").text


# How long an answer is kept


def test_a_generation_outlives_its_client_for_the_grace_and_is_then_cancelled() -> None:
    with reference_server(*QUICK, "--resumable", "100ms") as server, patient.Client(base_url=server.url) as client:
        with client.stream("POST", "/chat/stream", json=STREAM, headers=ENDLESS) as answer:
            next(answer.iter_raw())
        wait_for(lambda: counts(server.url)["reference_streams_ended_total:disconnected"] == 1)
        (row,) = server.truth()
        seen = counts(server.url)
        assert 25 < row["tokens"] < 10_000  # of 100,000: it continued, but only for the grace time
        assert (seen["reference_tokens_generated_total"], seen["reference_tokens_delivered_total"]) == (
            row["tokens"],
            len(row["sent"]),
        )
        assert seen["reference_tokens_wasted_total"] == row["tokens"] - len(row["sent"])
        assert client.get(f"/streams/{named(answer)}/events").status_code == 404
        assert seen["reference_logs"] == 0


def test_an_answer_that_ends_without_subscribers_is_kept_for_the_grace_and_then_wasted() -> None:
    short = SLOW | {"x-gauge-resumable": "10s"}
    with reference_server(*QUICK) as server, patient.Client(base_url=server.url) as client:
        lost, _ = dropped(client, "/chat/stream", 1, **short)
        id, said = dropped(client, "/chat/stream", 1, **short)
        wait_for(lambda: server.active() == 0)
        assert counts(server.url)["reference_tokens_delivered_total"] < 10
        rest = client.get(f"/streams/{id}/events", headers={"last-event-id": f"{id}:1"}).text
        assert len(whole_events(said + rest)) == 32
        wait_for(lambda: counts(server.url)["reference_logs"] == 0)
        seen = counts(server.url)
        assert seen["reference_tokens_generated_total"] == 60
        assert seen["reference_tokens_delivered_total"] + seen["reference_tokens_wasted_total"] == 60
        assert seen["reference_tokens_delivered_total"] >= 31
        assert seen["reference_streams_resumed_total"] == 1
        assert client.get(f"/streams/{lost}/events").status_code == 404


def test_cancelling_a_resumable_stream_ends_it_for_all_subscribers(client: httpx.Client) -> None:
    id, _ = dropped(client, "/v1/messages", 3, **ENDLESS)
    with client.stream("GET", f"/streams/{id}/events") as answer:
        pieces = answer.iter_text()
        said = next(pieces)
        assert client.post(f"/streams/{id}/cancel").json()["state"] == "cancelled"
        said += "".join(pieces)
    assert said.rstrip().endswith('"message_stop"}')
    assert said == client.get(f"/streams/{id}/events").text


def test_the_audit_says_when_each_event_was_generated_and_first_delivered(client: httpx.Client) -> None:
    id, _ = dropped(client, "/v1/messages", 10, **SLOW)
    wait_for(lambda: bool(client.get(f"/streams/{id}").json()["state"] == "completed"))
    audit = client.get(f"/streams/{id}/audit").json()
    assert audit["tokens"]["generated"] == 30 > audit["tokens"]["delivered"] > 0
    delivered = [event["delivered"] for event in audit["events"]]
    assert None not in delivered[:10]
    assert delivered[-1] is None
    client.get(f"/streams/{id}/events")
    again = client.get(f"/streams/{id}/audit").json()
    assert again["tokens"] == {"generated": 30, "delivered": 30}
    assert "".join(event["event"] for event in again["events"]) == client.get(f"/streams/{id}/events").text
    for before, event in zip(audit["events"], again["events"], strict=True):
        assert event["delivered"] >= event["generated"] == before["generated"]
        assert before["delivered"] in {None, event["delivered"]}


# Limits


def test_events_that_the_log_has_dropped_are_gone_with_410(client: httpx.Client) -> None:
    long = {"x-gauge-tokens": "25000", "x-gauge-itl": "0ms", "x-gauge-ttft": "0ms"}
    # A client that followed it could itself fall behind the log, where other tests keep the cores busy.
    id, _ = dropped(client, "/chat/stream", 5, **long)
    wait_for(lambda: bool(client.get(f"/streams/{id}").json()["state"] == "completed"))
    assert client.get(f"/streams/{id}/events", headers={"last-event-id": f"{id}:5"}).status_code == 410
    rest = whole_events(client.get(f"/streams/{id}/events", headers={"last-event-id": f"{id}:24000"}).text)
    numbers = [event.partition("id: ")[2].partition("\n")[0] for event in rest]
    assert numbers == [f"{id}:{number}" for number in range(24_001, 25_003)]
    assert "[DONE]" in rest[-1]
    again = client.get(f"/streams/{id}/events", headers={"last-event-id": f"{id}:24700"}).text
    assert again == "".join(rest[700:])


@pytest.mark.parametrize("idle", ["50ms", "0s"])
def test_a_subscriber_that_reads_nothing_does_not_delay_others(idle: str) -> None:
    fast = {"x-gauge-tokens": "15000", "x-gauge-itl": "0ms", "x-gauge-ttft": "0ms"}
    with (
        reference_server(
            *QUICK, "--resumable", "30s", "--send-buffer", "8192", "--idle", idle, "--drain", "0s"
        ) as server,
        patient.Client(base_url=server.url) as client,
        client.stream("POST", "/chat/stream", json=STREAM, headers=ENDLESS | SLOW) as answer,
        socket.socket() as stuck,
    ):
        pieces = answer.iter_text()
        next(pieces)
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before connect: later it has no effect
        stuck.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
        body = json.dumps(STREAM)
        head = {"host": "localhost", "content-type": "application/json", "content-length": len(body), **fast}
        lines = ["POST /chat/stream HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", body]
        stuck.sendall("\r\n".join(lines).encode())
        wait_for(lambda: counts(server.url)["reference_streams_ended_total:completed"] == 1)
        if idle == "50ms":
            wait_for(lambda: counts(server.url)["reference_log_readers"] == 1)
            with pytest.raises(ConnectionResetError):
                drain(stuck)
        else:
            said = b""
            while not said.endswith(b"0\r\n\r\n"):
                said += stuck.recv(65_536)
            assert said.count(b"\nid: ") == 15_002
        assert next(pieces)


def drain(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


class Room:
    """A sink that has room when the test says so."""

    def __init__(self) -> None:
        self.full = False
        self.taken = b""
        self.aborted = False

    def write(self, events: bytes) -> None:
        self.taken += events

    def abort(self) -> None:
        self.aborted = True

    def set_full(self, full: bool, subscriber: Subscriber) -> None:
        self.full = full
        if not full:
            subscriber.resume()


@given(st.lists(st.one_of(st.integers(1, 200), st.booleans(), st.just("come")), max_size=30), st.integers(0, 50))
def test_every_subscriber_gets_each_event_once_and_in_order(doings: list[Any], position: int) -> None:
    async def run() -> None:
        log = EventLog("req_0", "/", b"lost", 0)
        log.append([b"%d," % number for number in range(1, 51)])
        subscribers: list[tuple[int, Subscriber, Room]] = []

        def come(after: int) -> None:
            subscribers.append((after, Subscriber(log, after), Room()))
            subscribers[-1][1].open(subscribers[-1][2], 0)

        come(position)
        for doing in doings:
            if doing == "come":
                come(log.last)
            elif isinstance(doing, bool):
                for _, subscriber, room in subscribers[::2]:
                    room.set_full(doing, subscriber)
            else:
                log.append([b"%d," % number for number in range(log.last + 1, log.last + 1 + doing)])
        log.end()
        for after, subscriber, room in subscribers:
            room.full = False
            subscriber.resume()
            await subscriber.wait()
            assert room.taken == b"".join(b"%d," % number for number in range(after + 1, log.last + 1))
        assert log.subscribers == set()

    asyncio.run(run())


def test_a_subscriber_that_is_further_behind_than_the_log_reaches_gets_an_error_and_no_gap() -> None:
    async def run() -> None:
        log, room = EventLog("req_0", "/", b"lost", 0, limits=LogLimits(events=10)), Room()
        subscriber = Subscriber(log, 0)
        subscriber.open(room, 0)
        log.append([b"1", b"2"])
        room.full = True
        for number in range(3, 30):
            log.append([b"%d" % number])
        room.full = False
        subscriber.resume()
        await subscriber.wait()
        assert room.taken == b"12lost"

    asyncio.run(run())


def test_the_number_of_kept_answers_is_limited(client: httpx.Client) -> None:
    headers = KEPT | {"x-gauge-tokens": "1", "x-gauge-ttft": "0ms"}
    first = client.post("/chat/stream", json=STREAM, headers=headers)
    for _ in range(registry.LOGS):
        client.post("/chat/stream", json=STREAM, headers=headers)
    assert counts(str(client.base_url))["reference_logs"] <= registry.LOGS
    assert client.get(f"/streams/{named(first)}/events").status_code == 404
