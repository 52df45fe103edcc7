"""`doctor` through real proxies from Debian: the checks that fail are those that docs/how-to/doctor.md lists."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from gevent.pool import Pool

from tests.support import proxies
from tests.support.busy import first
from tests.support.diagnosed import PLAIN, checked, diagnosed
from tests.support.hostile import DONE, HEAD, Peer, scripted
from tests.support.late import Late
from tests.support.reference import reference_server

result = Late("streamgauge.harness.doctor.result")

_GZIP = "gzip on; gzip_types *; gzip_min_length 1;"
_BUFFERS = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"
NGINX = {
    "nginx, buffering off": "proxy_http_version 1.1; proxy_buffering off;",
    "nginx, buffering on": f"proxy_http_version 1.1; {_BUFFERS}",
    "nginx, buffering and gzip on": f"proxy_http_version 1.1; {_BUFFERS} {_GZIP}",
    "nginx, gzip on, buffering off": f"proxy_http_version 1.1; proxy_buffering off; {_GZIP}",
    "nginx, HTTP/1.0 to the server": f"proxy_http_version 1.0; {_BUFFERS}",
    "nginx, read timeout": "proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 2s;",
}
HAPROXY = {
    "HAProxy, as it comes": "",
    "HAProxy, http-no-delay": "option http-no-delay",
    "HAProxy, compression": "option http-no-delay\n    compression algo gzip\n    compression type text/event-stream",
    "HAProxy, server timeout": "option http-no-delay\n    timeout server 1s",
}
APACHE = {
    "Apache, as it comes": "ProxyPass / {upstream}/",
    "Apache, mod_deflate": "ProxyPass / {upstream}/\n    SetOutputFilter DEFLATE",
    "Apache, short timeout": "ProxyPass / {upstream}/ timeout=1",
}
# Without `buffer_requests`, Debian's Caddy cuts an answer now and then on a busy machine: Go closes the connection to a
# server whose answer has begun before Go noticed that it had read the whole question (golang/go#40747).
_CADDY = "reverse_proxy {upstream} {\n buffer_requests\n SETTING\n }"
CADDY = {
    "Caddy, buffer_requests": _CADDY.replace("SETTING", ""),
    "Caddy, another content type": _CADDY.replace("SETTING", "header_down Content-Type application/json"),
    "Caddy, encode": "encode {\n match {\n header Content-Type text/event-stream*\n }\n }\n"
    + _CADDY.replace("SETTING", ""),
}
VARNISH = {"Varnish, as it comes": "", "Varnish, do_stream off": "x-setting: whole"}
# Where a stream falls silent for longer than the timeout.
SILENT = {"nginx, read timeout", "HAProxy, server timeout", "Apache, short timeout"}
HELD = {"nginx, buffering and gzip on", "HAProxy, as it comes", "Varnish, do_stream off"}  # asked with --origin
NAMES = [*NGINX, *HAPROXY, *APACHE, *CADDY, *VARNISH]
STARTS: Mapping[str, tuple[Any, Mapping[str, str]]] = {
    "nginx": (proxies.nginx, NGINX),
    "haproxy": (proxies.haproxy, HAPROXY),
    "apache": (proxies.apache, APACHE),
    "caddy": (proxies.caddy, CADDY),
}


@pytest.fixture(scope="module")
def diagnoses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Through each proxy as it is set up; several at a time, since they mostly wait."""
    with first(), ExitStack() as stack:
        server = stack.enter_context(
            reference_server("--preset", "exact", "--ttft", "100ms", "--itl", "20ms", "--tokens", "60")
        )
        urls: dict[str, str] = {}
        for name, (start, settings) in STARTS.items():
            urls |= stack.enter_context(start(server.url, tmp_path_factory.mktemp(name), settings))
        varnish = stack.enter_context(proxies.varnish(server.url, tmp_path_factory.mktemp("varnish")))
        urls |= dict.fromkeys(VARNISH, varnish)

        def look(name: str) -> Any:
            headers = [header for header in (VARNISH.get(name, ""),) if header]
            headers += ["x-gauge-fault: stall:3s@10"] if name in SILENT else []
            # HAProxy is known by its timer of 200 ms, which the next token starts: here a burst comes every 210 ms, in
            # the middle of what counts as that timer; and bursts are so many that a few late ones do not hide it.
            headers += ["x-gauge-tokens: 96", "x-gauge-itl: 30ms"] if name == "HAProxy, as it comes" else []
            if name in HELD:
                return diagnosed(urls[name], *headers, origin=server.url, experiments=(*PLAIN, "origin"))
            return diagnosed(urls[name], *headers)

        yield {"slow": slow(urls["nginx, read timeout"]), **dict(zip(NAMES, Pool(9).map(look, NAMES), strict=True))}


def slow(url: str) -> Any:
    """With --slow, and what it needs."""
    return diagnosed(url, "x-gauge-tokens: 25", experiments=("ordinary", "leave", "slow"), slow=4)


@pytest.mark.parametrize("name", NAMES)
def test_through_a_real_proxy_the_right_checks_fail_and_only_those(diagnoses: dict[str, Any], name: str) -> None:
    checked(name, diagnoses[name])


def test_the_sentence_names_the_product_and_its_directive(diagnoses: dict[str, Any]) -> None:
    told = {name: found.sentence for name, found in diagnoses.items()}
    assert told["nginx, buffering and gzip on"].startswith("Compression holds the stream back: nginx, gzip")
    assert told["HAProxy, as it comes"].startswith("A proxy holds the stream back: HAProxy, http-no-delay")
    assert told["Varnish, do_stream off"].startswith("A proxy holds the stream back: Varnish, do_stream")
    assert told["nginx, buffering off"] == "It streams, and nothing is wrong with it"


def test_nginx_as_it_comes_holds_what_a_server_sends_by_http_1_0(tmp_path: Path) -> None:
    """As Node, Go and gunicorn do, this one sends no chunks to a client of HTTP/1.0. The reference server does."""
    word = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":25}}\n\n'
    stop = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'

    def script(peer: Peer) -> None:
        assert b" HTTP/1.0\r\n" in peer.request()
        peer.send(HEAD + b"cache-control: no-cache\r\n\r\n")
        for _ in range(25):
            peer.send(word)
            time.sleep(0.042)
        peer.send(stop, usage, DONE)

    name = "nginx, as it comes"
    with scripted(script) as server, proxies.nginx(server.url, tmp_path, {name: ""}) as urls:
        found = diagnosed(urls[name], experiments=("ordinary",))
    checked(name, found)
    assert found.sentence == "Something holds the stream back, perhaps nginx, proxy_buffering"


def test_a_held_silence_finds_the_timeout_of_the_path_and_a_long_answer_does_not_meet_it(
    diagnoses: dict[str, Any],
) -> None:
    found = diagnoses["slow"]
    assert found.status_of("idle_limit") is result.Status.FAIL
    assert found.status_of("absolute_limit") is result.Status.PASS
    assert found.sentence.startswith("Silent streams are ended after 2 s: nginx, proxy_read_timeout")
