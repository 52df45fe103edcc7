"""How the reference server delivers: flushing, keep-alives, back-pressure, ends and counts. Real sockets."""

import asyncio
import contextlib
import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.reference_server.delivery.flushing import Flusher
from streamgauge.reference_server.delivery.settings import DeliverySettings
from streamgauge.reference_server.delivery.stream import Stream
from streamgauge.reference_server.delivery.streams import Streams
from streamgauge.reference_server.dialects import DIALECTS
from streamgauge.reference_server.dialects.plain_sse import PlainQuestion
from streamgauge.reference_server.model import prose
from streamgauge.reference_server.model.answer import AnswerEnd, AnswerStart, Source
from streamgauge.reference_server.model.script import write_script
from streamgauge.reference_server.model.settings import PRESETS
from streamgauge.reference_server.model.steps import Step
from streamgauge.reference_server.truth import TruthLog
from tests.support import patient
from tests.support.command import PATIENCE
from tests.support.dialects import PATHS, TERMINAL, complaint, in_dialect
from tests.support.reference import ReferenceServer, counts, named, reference_server, wait_for

QUICK = ("--preset", "exact", "--ttft", "10ms", "--itl", "1ms", "--tokens", "60")
QUESTION = {"messages": [{"role": "user", "content": "Why is the line flat?"}], "model": "m", "max_tokens": 100_000}
STREAM = QUESTION | {"stream": True}
ENDLESS = {"x-gauge-ttft": "0ms", "x-gauge-itl": "5ms", "x-gauge-tokens": "100000"}


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK) as running:
        yield running


def events(body: str) -> list[str]:
    """The server-sent events of a body."""
    return body.removesuffix("\n\n").split("\n\n")


def texts(body: str) -> list[str]:
    """The text of each delta of an Anthropic stream."""
    datas = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]
    return [data["delta"]["text"] for data in datas if data.get("delta", {}).get("type") == "text_delta"]


# Flushing

tokens = st.sampled_from([token for paragraph in prose.PARAGRAPHS for token in paragraph])
steps = st.lists(
    st.one_of(
        tokens.map(lambda text: Step("text", text)),
        tokens.map(lambda text: Step("thinking", text)),
        st.text(max_size=5).map(lambda text: Step("text", text)),
        st.just(Step("tool_start", "")),
    )
)


@given(st.sampled_from(["word", "sentence"]), steps)
def test_the_flushed_parts_together_are_exactly_the_models_text(unit: Any, said: list[Step]) -> None:
    flusher = Flusher(unit)
    written = [step for each in said for step in flusher.push(each)] + flusher.flush()

    def runs(steps: list[Step]) -> list[tuple[str, str]]:
        joined: list[tuple[str, str]] = []
        for step in steps:
            if joined and step.kind != "tool_start" and joined[-1][0] == step.kind:
                joined[-1] = step.kind, joined[-1][1] + step.text
            elif step.text or step.kind == "tool_start":
                joined.append((step.kind, step.text))
        return joined

    assert runs(written) == runs(said)
    assert flusher.tokens == 0


def test_words_and_sentences_are_flushed_whole() -> None:
    said = "It is 4.2 m high. “Really?” she asked…\n- yes! **Very.** So"

    def flushed(unit: Any) -> list[str]:
        flusher = Flusher(unit)
        return [step.text for letter in said for step in [*flusher.push(Step("text", letter))]] + [
            step.text for step in flusher.flush()
        ]

    sentences = ["It is 4.2 m high.", " “Really?”", " she asked…", "\n", "- yes!", " **Very.**", " So"]
    assert flushed("sentence") == sentences
    assert flushed("word")[:5] == ["It", " is", " 4.2", " m", " high."]


def test_a_request_chooses_how_its_stream_is_flushed(server: ReferenceServer, client: httpx.Client) -> None:
    by_unit = {
        unit: texts(client.post("/v1/messages", json=STREAM, headers={"x-gauge-flush": unit}).text)
        for unit in ("token", "word", "sentence")
    }
    assert len({"".join(pieces) for pieces in by_unit.values()}) == 1
    assert len(by_unit["token"]) == 60 > len(by_unit["word"]) > len(by_unit["sentence"]) > 1
    assert [len(row["sent"]) for row in server.truth()[-3:]] == [60, 60, 60]  # each token was sent with some flush


# Keep-alives, and early ends


def test_a_silent_stream_is_kept_alive_with_comments(server: ReferenceServer, client: httpx.Client) -> None:
    headers = {"x-gauge-ttft": "10m", "x-gauge-keep-alive": "40ms"}
    with client.stream("POST", "/chat/stream", json=STREAM, headers=headers) as answer:
        pieces, said = answer.iter_text(), ""
        while said.count("\n\n") < 2:
            said += next(pieces)
        patient.post(f"{server.url}/streams/{named(answer)}/cancel")
        said += "".join(pieces)
    assert said.startswith(": keep-alive\n\n: keep-alive\n\n")
    assert said.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_that_exceeds_its_deadline_ends_with_an_error(
    server: ReferenceServer, client: httpx.Client, path: str
) -> None:
    said = client.post(path, json=in_dialect(path, STREAM), headers=ENDLESS | {"x-gauge-deadline": "60ms"}).text
    assert "was not finished within 0.06 s" in events(said)[-1]
    assert server.truth()[-1]["outcome"] == "failed"
    asked = in_dialect(path, QUESTION | {"stream": False})
    late = client.post(path, json=asked, headers=ENDLESS | {"x-gauge-deadline": "60ms"})
    assert late.status_code == 504
    assert "was not finished within 0.06 s" in complaint(late)


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_is_cancelled_from_another_connection_and_ends_properly(
    server: ReferenceServer, client: httpx.Client, path: str
) -> None:
    before = counts(server.url)
    with client.stream("POST", path, json=in_dialect(path, STREAM), headers=ENDLESS) as answer:
        chunks = answer.iter_text()
        said = next(chunks)
        id = answer.headers[DIALECTS[path].request_id_header]
        assert patient.get(f"{server.url}/streams/{id}").json()["state"] == "running"
        cancelled = patient.post(f"{server.url}/streams/{id}/cancel").json()
        said += "".join(chunks)  # to the end of the response: no protocol error
    assert TERMINAL[path] in said.rstrip().rpartition("\n\n")[2]
    report = client.get(f"/streams/{id}").json()
    assert report == cancelled
    assert (report["state"], report["tokens"]["wasted"]) == ("cancelled", 0)
    row = server.truth()[-1]
    assert (row["outcome"], row["tokens"]) == ("cancelled", report["tokens"]["generated"])
    assert counts(server.url)["reference_streams_ended_total:cancelled"] == (
        before["reference_streams_ended_total:cancelled"] + 1
    )


def test_an_unknown_stream_is_not_found(client: httpx.Client) -> None:
    for answer in (client.get("/streams/req_0"), client.post("/streams/req_0/cancel")):
        assert answer.status_code == 404
        assert "req_0" in answer.json()["error"]["message"]


def test_the_counts_cover_every_stream_and_token() -> None:
    with reference_server(*QUICK) as server, patient.Client(base_url=server.url) as client:
        client.post("/chat/stream", json=STREAM)
        client.post("/chat/stream", json=QUESTION | {"stream": False})
        # Flushing by sentences holds some tokens back. They are wasted when the client leaves.
        with client.stream(
            "POST", "/chat/stream", json=STREAM, headers=ENDLESS | {"x-gauge-flush": "sentence"}
        ) as left:
            next(left.iter_raw())
        rows = server.truth()
        seen = counts(server.url)
        assert seen["reference_streams_started_total"] == 3
        assert seen["reference_streams_active"] == seen["reference_streams_queued"] == 0
        assert seen["reference_streams_ended_total:completed"] == 2
        assert seen["reference_streams_ended_total:disconnected"] == 1
        assert seen["reference_tokens_generated_total"] == 120 + rows[-1]["tokens"]
        assert seen["reference_tokens_delivered_total"] == 120 + len(rows[-1]["sent"])
        assert seen["reference_tokens_wasted_total"] == rows[-1]["tokens"] - len(rows[-1]["sent"])
        assert seen["reference_ttft_seconds_count"] == 2  # of the two streamed answers
        assert seen["reference_itl_seconds_count"] == 59 + len(rows[-1]["sent"]) - 1
        assert seen["reference_itl_seconds_bucket:+Inf"] == seen["reference_itl_seconds_count"]


# Clients that read slowly


@contextlib.contextmanager
def not_reading(server: ReferenceServer, count: int, *headers: str) -> Iterator[list[socket.socket]]:
    """Clients that send a question and then read nothing."""
    body = json.dumps(STREAM).encode()
    head = ["POST /v1/messages HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    request = "\r\n".join([*head, *headers, "", ""]).encode() + body
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before connect: later it has no effect
            connection.connect(address)
            connection.sendall(request)
            connections.append(connection)
        yield connections


def drain(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


FAST = ("x-gauge-ttft: 0ms", "x-gauge-itl: 0ms", "x-gauge-tokens: 5000")


def generated_during_one_answer(server: ReferenceServer) -> float:
    before = counts(server.url)["reference_tokens_generated_total"]
    patient.post(f"{server.url}/v1/messages", json=STREAM)
    return counts(server.url)["reference_tokens_generated_total"] - before


def test_200_stalled_clients_pause_their_streams_and_cost_no_memory() -> None:
    with reference_server(*QUICK, "--send-buffer", "8192") as server:
        patient.post(f"{server.url}/v1/messages", json=STREAM)
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        with not_reading(server, 200, *FAST) as connections:
            wait_for(lambda: counts(server.url)["reference_streams_paused_total"] >= 200)
            # Nothing is generated for them while another client is served, once the kernel has moved what it buffers.
            wait_for(lambda: generated_during_one_answer(server) == 60)
            stalled = counts(server.url)
            assert stalled["reference_streams_active"] == 200
            # Each would send 700 KB. The script of its 5,000 tokens takes 80 KB from the start.
            assert process.memory_info().rss - before < 200 * 250_000
            assert stalled["reference_tokens_generated_total"] < 200 * 1_000
            # One that reads on gets all of it, each token once.
            said = b""
            while not said.endswith(b"0\r\n\r\n"):
                said += connections[0].recv(65_536)
            assert said.count(b"text_delta") == 5_000
        (row,) = [row for row in server.truth() if row["outcome"] == "completed" and row["tokens"] == 5_000]
        assert row["paused"] > 0


class _Broken:
    """A sink that finds out at the second write that its client has left."""

    full = False

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.writes = 0

    def write(self, events: bytes) -> None:
        self.writes += 1
        if events and self.writes > 1:
            self.stream.disconnected()

    def abort(self) -> None: ...


@pytest.mark.parametrize("tokens", [1, 2])
def test_a_disconnect_that_a_write_discovers_is_counted_once(tokens: int) -> None:
    troubles: list[object] = []

    async def one() -> Streams:
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        streams = Streams(0, TruthLog(None))
        question = PlainQuestion.model_validate(QUESTION)
        script = write_script(replace(PRESETS["exact"], ttft=0, itl=0, tokens=(tokens, tokens)), question.model_input())
        source = Source(zip(script.waits, script.steps, strict=True), lambda count, _: AnswerEnd("end_turn", count))
        stream = Stream("req_1", source, question.writer(AnswerStart("1", 0, 1)), DeliverySettings(), streams)
        streams.open(stream, _Broken(stream), time.monotonic_ns())
        await stream.wait()
        return streams

    streams = asyncio.run(one())
    assert not troubles
    assert streams.active == {}
    assert streams.counts.ended["disconnected"] == sum(streams.counts.ended.values()) == 1


def test_a_client_that_reads_nothing_is_cut_off_after_the_idle_time() -> None:
    with (
        reference_server(*QUICK, "--send-buffer", "8192") as server,
        not_reading(server, 1, *FAST, "x-gauge-idle: 50ms") as (connection,),
    ):
        wait_for(lambda: counts(server.url)["reference_streams_ended_total:failed"] == 1)
        with pytest.raises(ConnectionResetError):
            drain(connection)
        (row,) = server.truth()
        assert row["outcome"] == "failed"
        assert row["tokens"] < 5_000


# Load and the length of the prompt


def test_streams_beyond_the_capacity_wait_in_order_of_arrival() -> None:
    with (
        reference_server(*QUICK, "--capacity", "1", "--ttft", "50ms") as server,
        patient.Client(base_url=server.url) as client,
    ):
        with client.stream("POST", "/chat/stream", json=STREAM, headers=ENDLESS | {"x-gauge-stream": "first"}) as first:
            chunks = first.iter_raw()
            next(chunks)
            id = first.headers["x-request-id"]
            with client.stream("POST", "/chat/stream", json=STREAM, headers={"x-gauge-stream": "second"}) as second:
                waiting = patient.get(f"{server.url}/streams/{second.headers['x-request-id']}").json()
                assert (waiting["state"], waiting["seconds"]["started"]) == ("queued", None)
                assert counts(server.url)["reference_streams_queued"] == 1
                patient.post(f"{server.url}/streams/{id}/cancel")
                second.read()
        rows = {row["client"]: row for row in server.truth()}
        # It runs alone, but with capacity 1 that is a full machine.
        assert rows["second"]["due"] - rows["first"]["ended_at"] >= 2 * 50_000_000


def test_a_longer_prompt_waits_longer_for_its_first_token_unless_it_is_cached(
    server: ReferenceServer, client: httpx.Client
) -> None:
    system = [{"type": "text", "text": "The river. " * 1_000, "cache_control": {"type": "ephemeral"}}]
    for _ in range(2):
        client.post("/v1/messages", json=STREAM | {"system": system}, headers={"x-gauge-prefill": "20us"})
    first, again = (row["due"] - row["received_at"] for row in server.truth()[-2:])
    assert first - 10_000_000 == pytest.approx(2_755 * 20_000, rel=0.01)
    assert again - 10_000_000 == pytest.approx(2_755 * 20_000 / 10, rel=0.05)
    seen = counts(server.url)
    assert (
        seen["reference_prompt_cache_tokens_total:read"] == seen["reference_prompt_cache_tokens_total:written"] == 2_750
    )


# Who is admitted


@pytest.mark.parametrize("path", PATHS)
def test_a_server_with_a_key_answers_only_clients_that_have_it(path: str) -> None:
    body = in_dialect(path, STREAM)
    with (
        reference_server(*QUICK, environment={"STREAMGAUGE_API_KEY": "sésame"}) as server,
        patient.Client(base_url=server.url) as client,
    ):
        for headers in ({}, {"x-api-key": "sesame"}, {"authorization": "Bearer sesame"}, {"authorization": "sésame"}):
            encoded = {name.encode(): value.encode() for name, value in headers.items()}
            refused = client.post(path, json=body, headers=encoded)
            assert refused.status_code == 401
            assert "sésame" not in refused.text
        assert client.post("/v1/messages", json=STREAM).json()["error"]["type"] == "authentication_error"
        for name, value in (("x-api-key", "sésame"), ("authorization", "Bearer sésame")):
            assert client.post(path, json=body, headers={name.encode(): value.encode()}).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").status_code == 200


def test_a_draining_server_refuses_new_streams_and_lets_running_ones_finish() -> None:
    with reference_server(*QUICK, "--drain", "1m") as server, patient.Client(base_url=server.url) as client:
        headers = {"x-gauge-ttft": "0ms", "x-gauge-itl": "100ms", "x-gauge-tokens": "60"}  # longer than the refusal
        with client.stream("POST", "/v1/messages", json=STREAM, headers=headers) as answer:
            chunks = answer.iter_text()
            said = next(chunks)
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: client.get("/healthz").json()["status"] == "draining")
            refused = client.post("/v1/messages", json=STREAM)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            said += "".join(chunks)
        assert len(texts(said)) == 60
        assert said.rstrip().endswith('"message_stop"}')
        assert server.process.wait(PATIENCE) == 0


def test_only_the_exact_model_has_no_capacity() -> None:
    assert [name for name, shape in PRESETS.items() if shape.capacity == 0] == ["exact"]


# The connection between two questions


def test_a_kept_connection_outlasts_the_five_seconds_for_which_clients_keep_theirs(server: ReferenceServer) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=PATIENCE)) as connection:
        connection.connect()
        only = connection.sock
        for pause in (6, 0):
            connection.request("POST", "/v1/messages", json.dumps(QUESTION), {"content-type": "application/json"})
            with connection.getresponse() as answer:
                assert answer.status == 200
                answer.read()
            assert connection.sock is only
            time.sleep(pause)
