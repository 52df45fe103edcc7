"""How the reference server and its streams end: clients that leave, signals, wrong options."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from streamgauge.reference_server.dialects import DIALECTS
from streamgauge.reference_server.model.settings import PRESETS
from tests.support import patient
from tests.support.command import PATIENCE
from tests.support.dialects import complaint, in_dialect
from tests.support.reference import ReferenceServer, events, reference_server, refused

QUICK = ("--preset", "exact", "--ttft", "10ms", "--itl", "1ms", "--tokens", "60")
PROMPT = "Why is the line flat?"
BODY = {"model": "reference", "max_tokens": 500, "messages": [{"role": "user", "content": PROMPT}]}
ENDLESS = {"x-gauge-ttft": "0ms", "x-gauge-itl": "5ms", "x-gauge-tokens": "100000"}
BODY_OF_AGES = BODY | {"max_tokens": 100_000}
STREAM_OF_AGES = BODY_OF_AGES | {"stream": True}
every_dialect = pytest.mark.parametrize("path", [path for path in DIALECTS if "{" not in path])


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server(*QUICK) as running:
        yield running


# Clients that leave, and the end of the server


@every_dialect
def test_generation_stops_when_the_client_has_left(server: ReferenceServer, client: httpx.Client, path: str) -> None:
    with client.stream("POST", path, json=in_dialect(path, STREAM_OF_AGES), headers=ENDLESS) as answer:
        next(answer.iter_raw())
    row = server.truth()[-1]
    assert row["id"] == answer.headers[DIALECTS[path].request_id_header]
    assert row["outcome"] == "disconnected"
    assert row["tokens"] - len(row["sent"]) in {0, 1}  # the write of one token can discover that the client has left
    assert row["tokens"] < 100_000


def test_an_answer_of_responses_in_the_background_goes_on_without_its_client_until_it_is_cancelled(
    server: ReferenceServer, client: httpx.Client
) -> None:
    path, asked = "/v1/responses", {"model": "m", "input": "?", "stream": True}
    ids = {}
    for background in (True, False):
        with client.stream("POST", path, json=asked | {"background": background}, headers=ENDLESS) as answer:
            said = "".join(text for text, _ in zip(answer.iter_text(), range(2), strict=False))
            (ids[background],) = {*re.findall(r'"id":"(resp_\w+)"', said)}
            assert f'"background":{str(background).lower()}' in said
            if not background:
                refused = patient.post(f"{server.url}{path}/{ids[False]}/cancel")
                assert (refused.status_code, "synchronous" in complaint(refused)) == (400, True)
    url = f"/streams/{ids[True].replace('resp', 'req')}"
    known = client.get(url).json()["tokens"]["generated"]
    give_up_at = time.monotonic() + PATIENCE
    while client.get(url).json()["tokens"]["generated"] < known + 5:
        assert time.monotonic() < give_up_at, "it stopped when its client left"
    for _ in range(2):
        told = client.post(f"{path}/{ids[True]}/cancel").json()
        assert told == {"id": ids[True], "object": "response", "background": True, "status": "cancelled"}
    assert client.get(url).json()["state"] == "cancelled"
    assert "resp_0" in complaint(client.post(f"{path}/resp_0/cancel"))
    for odd, fault in (({"stream": False}, "ask for a stream"), ({"store": False}, 'needs "store": true')):
        assert fault in complaint(client.post(path, json=asked | {"background": True} | odd))


def test_a_client_that_leaves_before_the_first_token_is_noticed(server: ReferenceServer, client: httpx.Client) -> None:
    with client.stream("POST", "/v1/messages", json=BODY | {"stream": True}, headers={"x-gauge-ttft": "10m"}):
        pass
    row = server.truth()[-1]
    assert (row["outcome"], row["tokens"], row["sent"]) == ("disconnected", 0, [])


def test_a_client_that_resets_the_connection_is_noticed(server: ReferenceServer) -> None:
    body = json.dumps(BODY_OF_AGES).encode()
    head = f"POST /chat/stream HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n"
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with socket.create_connection(address) as connection:
        connection.sendall(head.encode() + b"x-gauge-ttft: 10m\r\n\r\n" + body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close sends RST
    assert server.truth()[-1]["outcome"] == "disconnected"


def test_a_client_that_stops_waiting_for_a_whole_answer_is_noticed(server: ReferenceServer) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/messages", json=BODY, headers={"x-gauge-ttft": "10m"}, timeout=0.2)
    server.truth()  # waits until no answer is active


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_cleanly_and_running_streams_get_an_error_and_a_row(number: signal.Signals) -> None:
    with reference_server(*QUICK, "--drain", "10ms") as server:
        with patient.stream("POST", f"{server.url}/v1/messages", json=STREAM_OF_AGES, headers=ENDLESS) as answer:
            chunks = answer.iter_text()
            said = next(chunks)
            server.process.send_signal(number)
            said += "".join(chunks)
        assert server.process.wait(PATIENCE) == 0
        name, data = events(said)[-1]
        assert (name, json.loads(data)["error"]["type"]) == ("error", "api_error")
        (row,) = map(json.loads, server.log.read_text().splitlines())
        assert row["outcome"] == "stopped"


def process(*words: str) -> "subprocess.CompletedProcess[str]":
    """A server process that ends by itself, because it refuses an option after it has begun to listen."""
    command = [sys.executable, "-m", "streamgauge.reference_server", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_lists_the_presets_and_the_options() -> None:
    helped = refused("--help")
    assert helped.returncode == 0
    for word in (
        *PRESETS,
        "--host",
        "--port",
        "--truth",
        "--seed",
        "--ttft",
        "--itl",
        "--spread",
        "--tokens",
        "--preset",
    ):
        assert word in helped.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("--ttft", "5"),
        ("--port", "70000"),
        ("--truth", "/nowhere/at/all.jsonl"),
        ("--host", "host.invalid"),
        ("--speed", "9"),
    ],
)
def test_a_bad_option_is_one_line_that_names_it(args: tuple[str, ...]) -> None:
    ended = refused(*args)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert args[0].lstrip("-") in line


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = process("--port", port)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert port in line
    assert "in use" in line


def test_tls_needs_both_its_files_and_good_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pem").write_text("no certificate")
    for start, words, said in (
        (refused, ["--tls-cert", "bad.pem"], "--tls-cert and --tls-key go together"),
        (process, ["--tls-cert", "bad.pem", "--tls-key", "bad.pem"], "--tls-cert, --tls-key: bad.pem, bad.pem: "),
        (process, ["--tls-cert", "none.pem", "--tls-key", "bad.pem"], "none.pem"),
    ):
        ended = start("--port", "0", *words)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
        assert said in ended.stderr
