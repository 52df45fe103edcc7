"""Behind a real nginx, with buffering off, the same streams come to the same ends."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent.pool import Pool

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.command import PATIENCE, free_port
from tests.support.hostile import ask, client, content, observe
from tests.support.reference import ReferenceServer, reference_server

_NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
pytestmark = pytest.mark.skipif(_NGINX is None, reason="no nginx (Debian: nginx-light)")

# One process, in the foreground; everything that it writes stays in its folder.
_CONFIG = """
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path a; uwsgi_temp_path b; scgi_temp_path c;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {upstream}; proxy_buffering off; }}
        location /dead/ {{ proxy_pass http://127.0.0.1:9/; }}
    }}
}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--ttft", "50ms", "--itl", "10ms", "--spread", "0", "--tokens", "30") as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: ReferenceServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an nginx in front of the server."""
    assert _NGINX is not None
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(port=port, upstream=server.url))
    command = [_NGINX, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    with subprocess.Popen(command) as process:
        try:
            _wait_for(port, process, folder / "error.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < give_up_at, "nginx does not listen"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
            continue
        return


def ending(seen: StreamObservation) -> tuple[object, ...]:
    """What must be the same with and without a proxy."""
    detail = seen.detail.replace(seen.request_id or "", "(its id)")
    return seen.outcome, seen.http_status, seen.stop_reason, seen.output_tokens, detail


every_protocol = pytest.mark.parametrize("protocol", ["anthropic_messages", "openai_chat", "plain_sse"])


@every_protocol
def test_a_whole_stream_is_the_same_behind_nginx(server: ReferenceServer, proxy: str, protocol: str) -> None:
    direct, behind = (observe(url, protocol=protocol) for url in (server.url, proxy))
    assert behind.outcome is Outcome.COMPLETED
    assert ending(behind) == ending(direct)
    assert content(behind) == content(direct) == 30
    assert [each.kind for each in behind.chunks] == [each.kind for each in direct.chunks]


# In the second plan of an answer that takes 6 s, of which a busy machine may need some for the first 7 chunks.
@pytest.mark.parametrize("plan", [Plan(leave_after_chunks=7), Plan(leave_after=4_000_000_000, abort=True)])
def test_a_person_who_leaves_is_the_same_behind_nginx_and_the_server_learns_of_it(
    server: ReferenceServer, proxy: str, plan: Plan
) -> None:
    def leave(url: str) -> StreamObservation:
        return observe(url, plan, protocol="anthropic_messages", headers={"x-gauge-itl": "200ms"})

    direct, behind = Pool(2).map(leave, (server.url, proxy))
    assert behind.outcome is Outcome.CANCELLED
    assert ending(behind) == ending(direct)
    assert 7 <= content(behind) < 30
    rows = {row["id"]: row for row in server.truth()}
    assert behind.request_id is not None
    assert rows[behind.request_id]["outcome"] == "disconnected"


def test_a_refusal_is_the_same_behind_nginx(server: ReferenceServer, proxy: str) -> None:
    direct, behind = (observe(url, headers={"x-gauge-tokens": "many"}) for url in (server.url, proxy))
    assert (behind.outcome, behind.http_status) == (Outcome.REFUSED, 400)
    assert ending(behind) == ending(direct)


def test_a_connection_is_kept_behind_nginx(proxy: str) -> None:
    person = client(proxy)
    first, second = ask(person), ask(person)
    person.close()
    assert [first.outcome, second.outcome] == [Outcome.COMPLETED] * 2
    assert (first.connected_at is None, second.connected_at is None) == (False, True)


def test_nginx_without_its_server_is_a_refusal(proxy: str) -> None:
    seen = observe(f"{proxy}/dead")
    assert (seen.outcome, seen.http_status) == (Outcome.REFUSED, 502)
    assert "502 Bad Gateway" in seen.detail
