"""Real proxies from Debian in front of one server, each started once with a port for each way to set it up."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.wild.programs import debian, free_port, listening

_NGINX = """
daemon off; master_process off; pid nginx.pid; error_log error.log;
events {{ worker_connections 64; }}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path a; uwsgi_temp_path b;
    scgi_temp_path c; proxy_set_header Connection "";
    {servers}
}}
"""
_NGINX_SERVER = "server {{ listen 127.0.0.1:{port}{secure}; location / {{ proxy_pass {upstream}; {settings} }} }}"
_HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
{servers}
"""
_HAPROXY_SERVER = """
listen on_{port}
    bind 127.0.0.1:{port}
    {settings}
    server reference {address}
"""
_APACHE = """
ServerRoot "{folder}"
ServerName localhost
PidFile apache.pid
DefaultRuntimeDir "{folder}"
Mutex posixsem
ErrorLog error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule filter_module {modules}/mod_filter.so
LoadModule deflate_module {modules}/mod_deflate.so
LoadModule buffer_module {modules}/mod_buffer.so
{servers}
"""
_APACHE_SERVER = """
Listen 127.0.0.1:{port}
<VirtualHost 127.0.0.1:{port}>
    {settings}
</VirtualHost>
"""
_CADDY = """
{{
    admin off
    auto_https off
}}
{servers}
"""
_CADDY_SERVER = """
http://127.0.0.1:{port} {{
    {settings}
}}
"""
_VARNISH = """
vcl 4.1;
backend default {{ .host = "{host}"; .port = "{upstream_port}"; }}
sub vcl_recv {{ return (pass); }}
sub vcl_backend_response {{
    if (bereq.http.x-setting == "whole") {{ set beresp.do_stream = false; }}
}}
"""


@contextmanager
def nginx(
    upstream: str, folder: Path, settings: Mapping[str, str], signed: tuple[Path, Path] | None = None
) -> Iterator[dict[str, str]]:
    """A URL for each name, behind which these lines hold. `signed`: a certificate and its key; None: no TLS."""
    ports = {name: free_port() for name in settings}
    secure = "" if signed is None else f" ssl; ssl_certificate {signed[0]}; ssl_certificate_key {signed[1]}"
    servers = [
        _NGINX_SERVER.format(port=ports[name], upstream=upstream, settings=settings[name], secure=secure)
        for name in settings
    ]
    (folder / "nginx.conf").write_text(_NGINX.format(servers="\n".join(servers)))
    command = [debian("nginx", "nginx-light"), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"]
    with _listening(command, ports, folder):
        yield {name: url.replace("http:", "https:") if signed else url for name, url in _urls(ports).items()}


@contextmanager
def haproxy(upstream: str, folder: Path, settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
    ports = {name: free_port() for name in settings}
    address = urlsplit(upstream).netloc
    servers = [_HAPROXY_SERVER.format(port=ports[name], address=address, settings=settings[name]) for name in settings]
    (folder / "haproxy.cfg").write_text(_HAPROXY.format(servers="".join(servers)))
    with _listening([debian("haproxy", "haproxy"), "-f", folder / "haproxy.cfg", "-db"], ports, folder):
        yield _urls(ports)


@contextmanager
def apache(upstream: str, folder: Path, settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """In the lines, {upstream} is the server's URL."""
    ports = {name: free_port() for name in settings}
    lines = {name: text.replace("{upstream}", upstream) for name, text in settings.items()}
    servers = [_APACHE_SERVER.format(port=ports[name], settings=lines[name]) for name in settings]
    places = {"folder": folder, "modules": "/usr/lib/apache2/modules", "servers": "".join(servers)}
    (folder / "apache.conf").write_text(_APACHE.format(**places))
    command = [debian("apache2", "apache2-bin"), "-X", "-f", folder / "apache.conf"]
    with _listening(command, ports, folder):
        yield _urls(ports)


@contextmanager
def caddy(upstream: str, folder: Path, settings: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """In the lines, {upstream} is the server's address."""
    ports = {name: free_port() for name in settings}
    address = urlsplit(upstream).netloc
    lines = {name: text.replace("{upstream}", address) for name, text in settings.items()}
    servers = [_CADDY_SERVER.format(port=ports[name], settings=lines[name]) for name in settings]
    (folder / "Caddyfile").write_text(_CADDY.format(servers="".join(servers)))
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = [debian("caddy", "caddy"), "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]
    with _listening(command, ports, folder, environment):
        yield _urls(ports)


@contextmanager
def varnish(upstream: str, folder: Path) -> Iterator[str]:
    """A request with the header `x-setting: whole` gets its answer in one piece."""
    port, parts = free_port(), urlsplit(upstream)
    (folder / "default.vcl").write_text(_VARNISH.format(host=parts.hostname, upstream_port=parts.port))
    command = [debian("varnishd", "varnish"), "-j", "none", "-F", "-n", folder / "work", "-a", f"127.0.0.1:{port}"]
    with listening([*command, "-f", folder / "default.vcl", "-s", "malloc,16m"], port, folder) as url:
        yield url


def _listening(
    command: Sequence[object], ports: Mapping[str, int], folder: Path, environment: Mapping[str, str] | None = None
) -> AbstractContextManager[str]:
    """On all of them: a proxy that listens on one port may not have come to the next."""
    first, *others = ports.values()
    return listening(command, first, folder, environment, others)


def _urls(ports: Mapping[str, int]) -> dict[str, str]:
    return {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
