"""What to change if no answer came at all: names, ports, TLS, certificates and silence. Pure."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from streamgauge.harness.probe import lines
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.record.observation import Outcome


class _Cause(NamedTuple):
    detail: str  # a regular expression
    says: str
    lines: str = ""


_UNVERIFIED = lines.target(verify=False)
_CAUSES = (
    _Cause("does not resolve|DNS", "No such name: check the spelling of the URL, this machine's DNS, and the VPN."),
    _Cause(
        "ECONNREFUSED",
        "Nothing listens at this port. Is the server running, is it this port, and does it listen on this address "
        "(0.0.0.0 in a container, not 127.0.0.1)?",
    ),
    _Cause(
        "EHOSTUNREACH|ENETUNREACH", "There is no route to this address: check the network, the VPN and the address."
    ),
    _Cause("no connection in time", "Nothing answers at this port, as with a firewall: check the port and its rules."),
    _Cause(
        "certificate.*expired",
        "The server's certificate has expired: renew it. To test until then, without checking whom you talk to:",
        _UNVERIFIED,
    ),
    _Cause(
        "certificate.*mismatch|certificate.*not valid for|certificate.*doesn't match",
        "The certificate is for another name: write that name in the URL. To test without checking whom you talk to:",
        _UNVERIFIED,
    ),
    _Cause(
        "certificate does not verify",
        "This machine does not know who signed the certificate. For a private authority, or a certificate signed by "
        "itself: export SSL_CERT_FILE=its-certificate.pem. To test without checking whom you talk to:",
        _UNVERIFIED,
    ),
    _Cause(
        "does not speak TLS|UNKNOWN_PROTOCOL|HTTP_REQUEST|RECORD_LAYER|UNEXPECTED_MESSAGE|record layer",
        "The port does not speak TLS. Write http:// in the URL, or the port that does.",
    ),
    _Cause("TLS handshake", "The port closed or ignored the TLS handshake: does it speak TLS? If not, write http://."),
    _Cause(
        "^TLS",
        "The TLS handshake failed. The server may want a client's certificate, or a TLS version that is not offered.",
    ),
)


def of_silence(probe: Probe) -> Iterator[Advice]:
    """What would help if there was no connection, or no HTTP answer on it."""
    seen = probe.seen
    for cause in _CAUSES if seen.connected_at is None or probe.site.endpoint.tls is not None else ():
        if re.search(cause.detail, seen.detail):
            yield Advice(cause.says, cause.lines, likely=False)
            return
    if seen.outcome is Outcome.RESET or "not HTTP" in seen.detail:
        yield from _closed(probe)


def _closed(probe: Probe) -> Iterator[Advice]:
    if probe.site.endpoint.tls is None:
        yield Advice(
            "The port took the connection and gave no HTTP/1.1 answer. If it speaks TLS, write https:// in the URL. "
            "Otherwise another program may listen there, such as one that speaks only HTTP/2 (gRPC), or the server "
            "failed: look at its log."
        )
    elif "not HTTP" in probe.seen.detail:
        yield Advice(
            "What came is not HTTP/1.1. If the server speaks only HTTP/2, as for gRPC, ask a proxy in front of it that "
            "takes HTTP/1.1 too."
        )
    else:
        yield Advice("The server closed the connection without an answer: look at its log, and at a proxy's.")
