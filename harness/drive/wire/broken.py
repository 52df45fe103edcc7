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


def reason(fault: BaseException) -> str:
    """The text of a system error, without errno and tuples."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"the certificate does not verify: {fault.verify_message}"
    if isinstance(fault, ssl.SSLError):
        return fault.reason or str(fault)
    if isinstance(fault, OSError) and fault.errno is not None:
        return fault.strerror or os.strerror(fault.errno)
    return str(fault)


def reason_of(code: int) -> str:
    """The name of an errno, with its text."""
    return f"{errno.errorcode.get(code, code)} ({reason(OSError(code, ''))})"
