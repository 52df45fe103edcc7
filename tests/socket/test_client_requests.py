"""What each client sends, to which place, and over which connection."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive import clients
from streamgauge.harness.errors import ScenarioError
from streamgauge.harness.record.observation import Outcome
from tests.support.hostile import (
    CHUNKED,
    LAST,
    Peer,
    asked,
    chunk,
    content,
    scripted,
)
from tests.support.stacks import LIBRARIES, WHOLE, ask, observe, person, serve

# What is asked


def requests_of(name: str, **settings: Any) -> list[bytes]:
    requests = []

    def script(peer: Peer) -> None:
        requests.append(peer.request())
        peer.send(WHOLE)

    with scripted(script) as server:
        observe(name, f"{server.url}/base", **settings)
        server.result()
    return [request.replace(str(server.port).encode(), b"PORT") for request in requests]


def fields(request: bytes) -> dict[str, str]:
    _, *lines = request.partition(b"\r\n\r\n")[0].decode().splitlines()
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_client_sends_the_same_body_to_the_same_path(name: str) -> None:
    (wire,), (library,) = requests_of("wire"), requests_of(name)
    assert library.startswith(b"POST /base/v1/messages HTTP/1.1\r\n")
    asked_by_wire, asked_by_library = (json.loads(each.partition(b"\r\n\r\n")[2]) for each in (wire, library))
    assert asked_by_library == asked_by_wire
    assert fields(library)["accept-encoding"] == "identity"


def test_httpx_sends_the_wire_clients_headers() -> None:
    (wire,), (library,) = requests_of("wire"), requests_of("httpx")
    assert fields(library) == {**fields(wire), "connection": "keep-alive"}


def test_the_sdk_sends_the_targets_key_and_none_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from-the-environment")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("KEY", "from-the-target")
    (none,) = requests_of("anthropic")
    assert {"x-api-key", "authorization"}.isdisjoint(fields(none))
    (key,) = requests_of("anthropic", headers={"X-Api-Key": "${KEY}"})
    assert (fields(key)["x-api-key"], "authorization" in fields(key)) == ("from-the-target", False)
    (bearer,) = requests_of("anthropic", headers={"Authorization": "Bearer ${KEY}"})
    assert (fields(bearer)["authorization"], "x-api-key" in fields(bearer)) == ("Bearer from-the-target", False)
    assert b"from-the-environment" not in none + key + bearer


def test_the_sdk_client_refuses_other_protocols_and_paths() -> None:
    sdk = clients.find("anthropic")
    with pytest.raises(ScenarioError) as fault:
        sdk.check(Target(protocol="openai_chat"))
    assert str(fault.value) == "the client 'anthropic' speaks only anthropic_messages; the target is openai_chat"
    with pytest.raises(ScenarioError) as fault:
        sdk.check(Target(path="/ask"))
    assert str(fault.value) == "the client 'anthropic' asks at …/v1/messages; target.path is '/ask'"
    sdk.check(Target(path="/gateway/v1/messages"))
    for name in ("wire", "httpx"):
        clients.find(name).check(Target(protocol="openai_chat", path="/ask"))


def test_the_docs_list_all_clients() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/clients.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(clients.CLIENTS)


def test_httpx_speaks_every_protocol() -> None:
    with scripted(asked(CHUNKED + chunk(b"data: one\n\ndata: two\n\ndata: [DONE]\n\n") + LAST)) as server:
        seen = observe("httpx", server.url, protocol="plain_sse")
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 2)


def test_a_library_is_imported_only_for_a_client_that_uses_it() -> None:
    imports = "import sys, streamgauge.harness.drive.clients"
    program = f"{imports}; print(sorted({{'anthropic', 'httpx', 'httpx2'}} & set(sys.modules)))"
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_second_stream_goes_over_the_first_ones_connection(name: str) -> None:
    with scripted(serve) as server:
        who = person(name, server.url)
        first, second = ask(who), ask(who)
        who.close()
        assert len(server.peers) == 1
    assert first.connected_at is not None
    assert (second.outcome, second.connected_at) == (Outcome.COMPLETED, None)
    assert second.sent_at is not None


@pytest.mark.parametrize("name", LIBRARIES)
def test_each_stream_with_fresh_connections_gets_a_new_connection(name: str) -> None:
    with scripted(serve) as server:
        who = person(name, server.url, fresh=True)
        seen = [ask(who) for _ in range(3)]
        who.close()
        assert len(server.peers) == 3
    assert all(each.connected_at is not None for each in seen)


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_server_that_hangs_up_while_the_next_request_is_on_its_way_costs_a_connection_and_no_error(name: str) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(WHOLE)
        peer.request()  # the connection looked idle and good when this was sent

    with scripted(script, serve) as server:
        who = person(name, server.url)
        ask(who)
        seen = ask(who)
        who.close()
        assert len(server.peers) == 2
    assert (seen.outcome, content(seen)) == (Outcome.COMPLETED, 3)


@pytest.mark.parametrize("name", ["wire", *LIBRARIES])
def test_no_client_follows_a_redirect_with_its_key(name: str) -> None:
    with scripted(lambda peer: peer.request()) as elsewhere:
        away = f"HTTP/1.1 307 There\r\nlocation: {elsewhere.url}/v1/messages\r\ncontent-length: 0\r\n\r\n".encode()
        requests = []

        def script(peer: Peer) -> None:
            requests.append(peer.request())
            peer.send(away)

        with scripted(script) as server:
            seen = observe(name, server.url, headers={"x-api-key": "only-for-this-host"})
            server.result()
        assert elsewhere.peers == []
    assert b"only-for-this-host" in requests[0]
    assert (seen.outcome, seen.http_status) == (Outcome.REFUSED, 307)
