"""The exception that ends an exchange before its answer is complete, and texts for system errors."""

import errno
import os
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


# What OpenSSL's names for the commonest faults of TLS mean; an alert is the server's word.
_TLS = {
    "ALERT_CERTIFICATE_REQUIRED": "the server wants a certificate of the client, and streamgauge has none",
    "ALERT_BAD_CERTIFICATE": "the server refuses us as a client without a good certificate",
    "ALERT_HANDSHAKE_FAILURE": (
        "the server refuses the handshake: it wants a certificate of the client, or has no cipher in common with us"
    ),
    "ALERT_PROTOCOL_VERSION": "the server speaks no version of TLS that we do",
    "UNSUPPORTED_PROTOCOL": "the server speaks no version of TLS that we do",
    "ALERT_UNRECOGNIZED_NAME": "the server does not know the host's name",
    "UNRECOGNIZED_NAME": "the server does not know the host's name",
    "WRONG_VERSION_NUMBER": "the server does not speak TLS at this port",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "what came cannot be decrypted: it is garbage, or was changed",
    "UNEXPECTED_EOF_WHILE_READING": "the server closed the connection in mid-record",
}


def reason(fault: BaseException) -> str:
    """The text of a system error, without errno and tuples."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {fault.verify_message}"
    if isinstance(fault, ssl.SSLError):
        told = fault.reason or str(fault)
        return _TLS.get(told.removeprefix("TLSV1_").removeprefix("TLSV13_").removeprefix("SSLV3_"), told)
    if isinstance(fault, OSError) and fault.errno is not None:
        return fault.strerror or os.strerror(fault.errno)
    return str(fault)


def reason_of(code: int) -> str:
    """The name of an errno, with its text."""
    return f"{errno.errorcode.get(code, code)} ({reason(OSError(code, ''))})"
