"""The addresses of a host, and its TLS, looked at beside the questions: a few connections, no request.

`look` blocks with timeouts: call it in a thread.
"""

import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

_MOST = 4  # addresses that are tried
_TIMEOUT = 3.0  # seconds for each connection and handshake


@dataclass(frozen=True)
class Address:
    family: str  # IPv4 or IPv6
    text: str
    why_not: str  # why it takes no connection; "": it does


@dataclass(frozen=True)
class Tls:
    version: str = ""
    protocols: str = ""  # what ALPN chose: h2, http/1.1, or "" for nothing
    days_left: float | None = None  # of the certificate; None: unknown
    issuer: str = ""
    distrust: str = ""  # why this machine does not trust the certificate; "": it does
    fault: str = ""  # why there is no TLS at all


@dataclass(frozen=True)
class Reach:
    host: str
    lookup_ms: float | None = None  # of the name; None: it was not looked up
    fault: str = ""  # why it has no addresses
    addresses: tuple[Address, ...] = ()
    tls: Tls | None = None  # None: the URL is http://, or nothing took a connection


def look(host: str, port: int, *, secure: bool) -> Reach:
    """What the host's name leads to, and who answers there."""
    began = time.monotonic()
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as fault:
        return Reach(host, fault=str(fault)[:200])
    took = (time.monotonic() - began) * 1e3 if not _is_address(host) else None
    distinct = list({(each[0], each[4]): None for each in found[:_MOST]})
    addresses = tuple(_tried(family, to) for family, to in distinct)
    open_at = next((to for (_, to), seen in zip(distinct, addresses, strict=True) if not seen.why_not), None)
    tls = _tls(host, open_at) if secure and open_at is not None else None
    return Reach(host, took, addresses=addresses, tls=tls)


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False


def _tried(family: int, to: Any) -> Address:
    name = "IPv6" if family == socket.AF_INET6 else "IPv4"
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(_TIMEOUT)
            sock.connect(to)
    except OSError as fault:
        return Address(name, to[0], "no answer" if isinstance(fault, TimeoutError) else fault.strerror or str(fault))
    return Address(name, to[0], "")


def _tls(host: str, to: Any) -> Tls:
    try:
        return _handshake(host, to, ssl.create_default_context())
    except ssl.SSLCertVerificationError as fault:
        distrust = fault.verify_message or str(fault)
    except OSError as fault:  # ssl.SSLError among them
        return Tls(fault=_reason(fault))
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    try:
        seen = _handshake(host, to, unverified)
    except OSError as fault:
        return Tls(fault=_reason(fault))
    return Tls(seen.version, seen.protocols, None, "", distrust)


def _handshake(host: str, to: Any, context: ssl.SSLContext) -> Tls:
    context.set_alpn_protocols(["h2", "http/1.1"])
    family = socket.AF_INET6 if len(to) == 4 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as plain, context.wrap_socket(plain, server_hostname=host) as sock:
        sock.settimeout(_TIMEOUT)
        sock.connect(to)  # with the scope of a link-local address
        certificate: Mapping[str, Any] = sock.getpeercert() or {}
        days = None
        if "notAfter" in certificate:
            days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86_400
        names = dict(pair for part in certificate.get("issuer", ()) for pair in part)
        issuer = names.get("organizationName") or names.get("commonName") or ""
        return Tls(sock.version() or "", sock.selected_alpn_protocol() or "", days, issuer)


def _reason(fault: OSError) -> str:
    return str(getattr(fault, "reason", None) or fault.strerror or fault)[:200]
