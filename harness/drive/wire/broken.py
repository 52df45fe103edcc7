"""The exception that ends an exchange before its answer is complete, and texts for system errors."""

import errno
import os
import re
import ssl

from streamgauge.harness.record.observation import Outcome


class Broken(Exception):
    """The exchange cannot go on; `outcome` is the outcome of the stream."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome
        self.detail = detail


class Starved(Broken):
    """This machine had no socket, port, memory or thread for the exchange: no fault of the server.

    INTERRUPTED, because our side ended the stream: it is in the record, and in no rate or percentile.
    """

    def __init__(self, fault: BaseException | int) -> None:
        why = reason_of(fault) if isinstance(fault, int) else reason(fault)
        super().__init__(Outcome.INTERRUPTED, f"the load generator's machine had no room for this stream: {why}")


_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EAGAIN})


def starves(code: int | None) -> bool:
    """Whether this errno of `socket` or `connect` says that our own machine lacks something."""
    return code in _OURS


GARBAGE = "what came cannot be decrypted: it is garbage, or was changed"
_NOT_TLS = "the server does not speak TLS at this port"
_NO_VERSION = "the server speaks no version of TLS that we do"
_NO_NAME = "the server does not know the host's name"

# What OpenSSL's names for the commonest faults of TLS mean; in the handshake, for those that can occur there and later.
_TLS = {
    "ALERT_CERTIFICATE_REQUIRED": "the server wants a certificate of the client, and streamgauge has none",
    "ALERT_BAD_CERTIFICATE": "the server refuses us as a client without a good certificate",
    "ALERT_HANDSHAKE_FAILURE": (
        "the server refuses the handshake: it wants a certificate of the client, or has no cipher in common with us"
    ),
    "ALERT_PROTOCOL_VERSION": _NO_VERSION,
    "UNSUPPORTED_PROTOCOL": _NO_VERSION,
    "ALERT_UNRECOGNIZED_NAME": _NO_NAME,
    "UNRECOGNIZED_NAME": _NO_NAME,
    "WRONG_VERSION_NUMBER": _NOT_TLS,
    "RECORD_LAYER_FAILURE": _NOT_TLS,
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": GARBAGE,
    "BAD_RECORD_TYPE": GARBAGE,
    "LENGTH_TOO_SHORT": GARBAGE,
    "PACKET_LENGTH_TOO_LONG": GARBAGE,
    "ENCRYPTED_LENGTH_TOO_LONG": GARBAGE,
    "DATA_LENGTH_TOO_LONG": GARBAGE,
    "": GARBAGE,  # such as an alert that is not encrypted
    "UNEXPECTED_EOF_WHILE_READING": "the server closed the connection in mid-record",
}
_ALERT = re.compile("(TLSV1|TLSV13|SSLV3)_")  # begins OpenSSL's name for an alert of the peer


def is_alert(fault: ssl.SSLError) -> bool:
    """Whether the peer told us of a fault, in an alert."""
    return _ALERT.match(fault.reason or "") is not None


def reason(fault: BaseException) -> str:
    """The text of a system error, without errno and tuples."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {fault.verify_message}"
    if isinstance(fault, ssl.SSLError):
        return _reason_of_tls(fault)
    if isinstance(fault, OSError) and fault.errno is not None:
        return fault.strerror or os.strerror(fault.errno)
    return str(fault)


def _reason_of_tls(fault: ssl.SSLError) -> str:
    name = _ALERT.sub("", fault.reason or "", count=1)
    if name in _TLS:
        return _TLS[name]
    words = name.removeprefix("ALERT_").replace("_", " ").lower()
    return f"the server sent the alert {words}" if is_alert(fault) else f"OpenSSL refuses what the server sent: {words}"


def reason_of(code: int) -> str:
    """The name of an errno, with its text."""
    return f"{errno.errorcode.get(code, code)} ({reason(OSError(code, ''))})"
