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
