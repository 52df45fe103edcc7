"""Where a target listens: the parts of its URL, and the addresses of its host."""

import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import gevent
from gevent import monkey

from streamgauge.harness.config.urls import public_url
from streamgauge.harness.drive.wire.broken import reason
from streamgauge.harness.errors import TargetError

# Locust has replaced `getaddrinfo` with gevent's, which uses a thread even for a numeric address.
_getaddrinfo: Any = monkey.get_original("socket", "getaddrinfo")

_GRACE = 0.02  # s; a loop that stood still beyond a deadline may see it before the answer that came meanwhile

Address = tuple[int, tuple[Any, ...]]  # (family, argument of `connect`)


class Resolved(NamedTuple):
    addresses: list[Address]  # in the order to try them
    at: int  # when the answer came, however late our loop saw it: CLOCK_MONOTONIC ns


@dataclass(frozen=True, slots=True)
class Endpoint:
    tls: ssl.SSLContext | None
    host: str
    port: int
    base: str  # path prefix, without a trailing slash

    @classmethod
    def of(cls, url: str, *, verify: bool = True) -> "Endpoint":
        """`https://staging.example/base` → Endpoint. TargetError if `url` is not an http(s) URL."""
        shown = public_url(url)
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as fault:
            said = str(fault) if shown == url else "the part after the host name is not a port number"
            raise TargetError(f"host {shown!r}: not a URL: {said}") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise TargetError(f"host {shown!r}: not a URL of a server; write it like https://staging.example")
        if parts.username or parts.password:
            raise TargetError("host: a user name or password in the URL would be stored; use target.headers instead")
        if parts.query or parts.fragment:
            raise TargetError(f"host {shown!r}: a query or fragment does not belong here; see target.path")
        tls = None
        if parts.scheme == "https":
            tls = ssl.create_default_context()
            tls.minimum_version = ssl.TLSVersion.TLSv1_2  # Debian's Python would try older ones
            if not verify:
                tls.check_hostname = False
                tls.verify_mode = ssl.CERT_NONE
        default = 443 if parts.scheme == "https" else 80
        return cls(tls, parts.hostname, default if port is None else port, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port as a URL, without the port if it is the scheme's own."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    def resolve(self, within: float | None = None) -> Resolved:
        """The addresses of the host. TargetError if the name does not resolve, TimeoutError after `within` seconds."""
        with suppress(OSError, UnicodeError):
            # Without a thread: on a busy interpreter, a thread's delay would look like the server's.
            return Resolved(_numeric(self.host, self.port), time.monotonic_ns())
        until = None if within is None else time.monotonic() + within
        with gevent.Timeout(within, TimeoutError):  # while every thread is at work
            answer = gevent.get_hub().threadpool.spawn(_looked_up, self.host, self.port)
        answer.wait(None if until is None else max(0.0, until - time.monotonic()))
        answer.wait(_GRACE)
        if not answer.ready():
            raise TimeoutError
        found, at = answer.value
        if isinstance(found, Exception):
            raise TargetError(f"host {self.host!r} does not resolve: {reason(found)}")
        return Resolved(_addresses(found), at)


def _looked_up(host: str, port: int) -> tuple[Any, int]:
    """What the DNS answers, or the fault, and when. Runs in a thread."""
    try:
        return _getaddrinfo(host, port, 0, socket.SOCK_STREAM), time.monotonic_ns()
    except (OSError, UnicodeError) as fault:
        return fault, time.monotonic_ns()


@lru_cache
def _numeric(host: str, port: int) -> list[Address]:
    """The addresses of a host that is written as an address. OSError for a name."""
    return _addresses(_getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST))


def _addresses(found: list[tuple[int, int, int, str, tuple[Any, ...]]]) -> list[Address]:
    return [(family, address) for family, _, _, _, address in found]
