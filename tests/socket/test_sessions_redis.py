"""Resumable streams of two server processes that share a Redis: the machine's own, on a free port, without files."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis

from tests.support import patient
from tests.support.command import PATIENCE, free_port
from tests.support.reference import ReferenceServer, counts, named, reference_server, wait_for, whole_events

QUICK = ("--preset", "exact", "--ttft", "5ms", "--itl", "2ms", "--tokens", "60", "--resumable", "30s", "--drain", "0s")
STREAM = {
    "messages": [{"role": "user", "content": "How deep is it?"}],
    "model": "m",
    "max_tokens": 100_000,
    "stream": True,
}
ENDLESS = {"x-gauge-itl": "2ms", "x-gauge-tokens": "100000"}
LOST = "the rest of this answer is lost"


@dataclass
class Redis:
    port: int
    process: "subprocess.Popen[str]"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def has(self, id: str) -> bool:
        """Whether anything of this stream is kept."""
        with redis.Redis(port=self.port) as client:
            return bool(client.keys(f"streamgauge:*{id}*"))


@contextlib.contextmanager
def redis_server(port: int = 0) -> Iterator[Redis]:
    path = shutil.which("redis-server")
    if path is None:
        pytest.skip("no redis-server (Debian: redis-server)")
    port = port or free_port()
    command = [path, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = any("Ready to accept connections" in line for line in process.stdout)
            assert ready, "redis-server ended before it listened"
            yield Redis(port, process)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@dataclass
class Pair:
    """Two server processes, and one client for each."""

    redis: Redis
    servers: tuple[ReferenceServer, ReferenceServer]
    first: httpx.Client
    second: httpx.Client


@contextlib.contextmanager
def pair_of_servers(*args: str) -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        shared = stack.enter_context(redis_server())
        options = (*QUICK, *args, "--redis-url", shared.url)
        servers = stack.enter_context(reference_server(*options)), stack.enter_context(reference_server(*options))
        clients = [stack.enter_context(patient.Client(base_url=server.url)) for server in servers]
        yield Pair(shared, servers, *clients)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with pair_of_servers() as running:
        yield running


@contextlib.contextmanager
def reading(client: httpx.Client, path: str, **headers: str) -> Iterator[tuple[str, Iterator[str]]]:
    """A new stream whose first bytes have come: its id, and the pieces that follow."""
    with client.stream("POST", path, json=STREAM, headers=headers) as answer:
        pieces = answer.iter_text()
        first = next(pieces)

        def all_pieces() -> Iterator[str]:
            yield first
            yield from pieces

        yield named(answer), all_pieces()


@contextlib.contextmanager
def following(client: httpx.Client, id: str) -> Iterator[Iterator[str]]:
    """The same stream, read at another process, once its first bytes have come there."""
    with contextlib.ExitStack() as stack:
        answers: list[httpx.Response] = []

        def asked() -> bool:
            answers.append(stack.enter_context(client.stream("GET", f"/streams/{id}/events")))
            return answers[-1].status_code != 503  # the process that has the stream got no core in time to answer

        wait_for(asked)
        assert answers[-1].status_code == 200
        pieces = answers[-1].iter_text()
        first = next(pieces)

        def all_pieces() -> Iterator[str]:
            yield first
            yield from pieces

        yield all_pieces()


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions", "/chat/stream"])
def test_another_process_continues_where_the_first_one_was_left(pair: Pair, path: str) -> None:
    with reading(pair.first, path) as (id, pieces):
        said = ""
        while said.count("\n\n") < 4:
            said += next(pieces)
    said = "".join(whole_events(said)[:4])
    rest = pair.second.post(path, json=STREAM, headers={"last-event-id": f"{id}:4"})
    whole = pair.first.get(f"/streams/{id}/events").text
    assert (named(rest), said + rest.text) == (id, whole)
    assert pair.second.get(f"/streams/{id}/events").text == whole
    last = f"{id}:{len(whole_events(whole))}"
    assert pair.second.get(f"/streams/{id}/events", headers={"last-event-id": last}).status_code == 204


def test_clients_of_both_processes_follow_one_generation_live(pair: Pair) -> None:
    with reading(pair.first, "/v1/messages", **ENDLESS) as (id, here), following(pair.second, id) as there:
        assert pair.second.post(f"/streams/{id}/cancel").json()["state"] == "cancelled"
        said = "".join(here)
        assert said.rstrip().endswith('"message_stop"}')
        assert "".join(there) == said


def test_any_process_reports_and_cancels_any_stream(pair: Pair) -> None:
    plain = {**ENDLESS, "x-gauge-resumable": "0s"}
    with reading(pair.first, "/chat/stream", **plain) as (id, pieces):
        assert pair.second.get(f"/streams/{id}").json()["state"] == "running"
        assert pair.second.post(f"/streams/{id}/cancel").json()["state"] == "cancelled"
        assert "".join(pieces).endswith("data: [DONE]\n\n")
    assert pair.second.get(f"/streams/{id}").json() == pair.first.get(f"/streams/{id}").json()
    wait_for(lambda: pair.first.get("/streams/req_0").status_code == 404)  # once both processes have answered in time
    wait_for(lambda: pair.second.post("/streams/req_0/cancel").status_code == 404)


@pytest.mark.parametrize(
    "message",
    [
        "x", b"\xff", '{"verb": "x", "id": "req_0"}', "[]",
        b'{"verb": "report", "id": "\xff"}', b'{"verb": "report", "id": "req_0", "new": ' + b"[" * 10_000,
    ],
    ids=["text", "bytes", "verb", "list", "no UTF-8", "deep"],
)  # fmt: skip
def test_a_message_of_somebody_else_on_the_channel_ends_nothing(pair: Pair, message: str | bytes) -> None:
    with redis.Redis(port=pair.redis.port) as client:
        assert client.publish("streamgauge:asked", message) == 2
    with reading(pair.first, "/chat/stream", **ENDLESS, **{"x-gauge-resumable": "0s"}) as (id, _):
        assert pair.second.post(f"/streams/{id}/cancel").json()["state"] == "cancelled"


def test_while_a_process_does_not_answer_nothing_is_said_not_to_exist() -> None:
    with pair_of_servers() as pair:
        wait_for(lambda: pair.second.get("/streams/req_0/events").status_code == 404)
        pair.servers[0].process.send_signal(signal.SIGSTOP)
        for path in ("/streams/req_0", "/streams/req_0/events"):
            unknown = pair.second.get(path)
            assert (unknown.status_code, unknown.headers["retry-after"]) == (503, "1")
            assert "another process of this server does not answer" in unknown.text
        pair.servers[0].process.send_signal(signal.SIGCONT)
        wait_for(lambda: pair.second.get("/streams/req_0").status_code == 404)


def test_a_subscriber_in_another_process_keeps_the_generation_alive_and_is_counted() -> None:
    short = {"x-gauge-resumable": "3s", "x-gauge-itl": "100ms"}  # the whole answer takes twice the grace time
    with pair_of_servers() as pair:  # of its own, since it counts
        with reading(pair.first, "/chat/stream", **short) as (id, _):
            pass
        whole = pair.second.get(f"/streams/{id}/events").text
        assert len(whole_events(whole)) == 62
        assert whole.endswith("data: [DONE]\n\n")
        names = ("reference_tokens_delivered_total", "reference_tokens_generated_total")
        wait_for(lambda: [counts(pair.servers[0].url)[name] for name in names] == [60, 60])
        wait_for(lambda: not pair.redis.has(id))  # forgotten after the grace time
        wait_for(lambda: counts(pair.servers[0].url)["reference_logs"] == 0)
        wait_for(lambda: pair.second.get(f"/streams/{id}/audit").status_code == 404)
        assert counts(pair.servers[0].url)["reference_tokens_wasted_total"] == 0


def test_any_process_returns_the_audit(pair: Pair) -> None:
    with reading(pair.first, "/chat/stream") as (id, pieces):
        said = "".join(pieces)
    audit = pair.second.get(f"/streams/{id}/audit").json()
    assert "".join(event["event"] for event in audit["events"]) == said
    assert audit == pair.first.get(f"/streams/{id}/audit").json()


def test_when_the_generating_process_is_killed_subscribers_elsewhere_get_an_error() -> None:
    with (
        pair_of_servers() as pair,
        contextlib.suppress(httpx.RemoteProtocolError),  # at the stream's own client
        reading(pair.first, "/v1/messages", **ENDLESS) as (id, _),
        following(pair.second, id) as there,
    ):
        pair.servers[0].process.kill()
        pair.servers[0].process.wait()
        with redis.Redis(port=pair.redis.port) as client:
            for key in client.keys("streamgauge:writer:*"):  # as happens after some seconds without a heartbeat
                client.delete(key)
        last = whole_events("".join(there))[-1]
        assert LOST in last
        assert "event: error" in last


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_without_redis_resumable_streams_end_with_an_error_and_others_continue(how: signal.Signals) -> None:
    with (
        pair_of_servers() as pair,
        reading(pair.first, "/chat/stream", **ENDLESS, **{"x-gauge-resumable": "0s"}) as (_, plain),
        reading(pair.first, "/v1/messages", **ENDLESS) as (id, here),
        following(pair.second, id) as there,
    ):
        pair.redis.process.send_signal(how)
        told = whole_events("".join(here))[-1]
        assert "event: error" in told
        assert "the Redis that keeps resumable answers does not work" in told
        assert LOST in whole_events("".join(there))[-1]
        for _ in range(20):
            next(plain)
        refused = pair.first.post("/chat/stream", json=STREAM)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert str(pair.redis.port) not in told + refused.text  # clients must not learn where Redis is
        assert pair.second.get(f"/streams/{id}/events").status_code == 503
        assert pair.first.post("/chat/stream", json=STREAM, headers={"x-gauge-resumable": "0s"}).status_code == 200

        with contextlib.ExitStack() as stack:
            if how is signal.SIGKILL:
                pair.redis.process.wait()
                stack.enter_context(redis_server(pair.redis.port))
            else:
                pair.redis.process.send_signal(signal.SIGCONT)
            wait_for(lambda: pair.first.post("/chat/stream", json=STREAM).status_code == 200)
            with reading(pair.first, "/chat/stream") as (new, pieces), following(pair.second, new) as again:
                assert "".join(again) == "".join(pieces)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1:FREE", "cannot be used: Error 111 connecting to 127.0.0.1"),
        ("http://127.0.0.1", "Redis URL must specify one of the following schemes"),
    ],
)
def test_a_missing_redis_ends_the_start_with_one_line(url: str, expected: str) -> None:
    command = [
        sys.executable,
        "-m",
        "streamgauge.reference_server",
        "--port",
        "0",
        "--redis-url",
        url.replace("FREE", str(free_port())),
    ]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, cwd=Path(__file__).parents[2], check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"streamgauge serve: --redis-url: {expected}")
    assert ended.stderr.count("\n") == 1
