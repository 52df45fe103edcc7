"""E-mail by SMTP. All messages of an incident are in one thread, and say that a program wrote them."""

import re
import smtplib
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from email.message import EmailMessage
from email.policy import default
from email.utils import formatdate
from typing import Any

from streamgauge.harness.config.alerts import Email
from streamgauge.harness.judge.wording import shortened, visible
from streamgauge.harness.monitor.alerts import telling
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt, Failed, Refused
from streamgauge.harness.monitor.alerts.receivers.bounded import within

_UNFIT = re.compile(r"[^A-Za-z0-9.+/_-]")  # for the left side of a message's id
# With shorter lines, Python would write a long `References` in an encoding that nobody reads there.
_POLICY = default.clone(max_line_length=900)
_PORTS = {"starttls": 587, "implicit": 465, "none": 25}


def send(table: Email, attempt: Attempt) -> str | None:
    """The note names the addresses that the server refused, if it took others."""
    seconds = table.timeout / 1e9
    return within(seconds, f"email {table.called}", lambda: _send(table, message(table, attempt), seconds))


def _send(table: Email, written: EmailMessage, seconds: float) -> str | None:
    with _faults(seconds):
        smtp = _connected(table, seconds)
    with closing(smtp):
        return _sent(table, smtp, written, seconds)


def _sent(table: Email, smtp: smtplib.SMTP, written: EmailMessage, seconds: float) -> str | None:
    with _faults(seconds):
        if table.tls == "starttls":
            smtp.starttls(context=ssl.create_default_context())
        if table.user is not None:
            smtp.login(table.user, table.password or "")
    with _faults(seconds, may_have_arrived=True):
        refused = smtp.send_message(written, table.sender, table.to)
    with suppress(smtplib.SMTPException, OSError):  # the message has been taken
        smtp.quit()
    return f"the server refused {', '.join(map(visible, refused))}" if refused else None


def message(table: Email, attempt: Attempt) -> EmailMessage:
    alert = attempt.alert
    domain = table.sender.rpartition("@")[2]
    thread = f"<{_UNFIT.sub('-', alert.thread)}@{domain}>"
    mail = EmailMessage(_POLICY)
    mail["From"] = table.sender
    mail["To"] = ", ".join(table.to)
    mail["Subject"] = telling.title(alert)
    mail["Date"] = formatdate(attempt.at)
    mail["Message-ID"] = f"<{_UNFIT.sub('-', attempt.id)}@{domain}>"
    mail["References"] = thread
    mail["In-Reply-To"] = thread
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: so that no out-of-office reply comes back
    mail["X-Streamgauge-Key"] = alert.key
    lines = [*telling.lines(alert), *([telling.REPEATED] if attempt.may_be_repeated else [])]
    mail.set_content("\n\n".join(lines) + "\n")
    return mail


def _connected(table: Email, seconds: float) -> smtplib.SMTP:
    port = table.port or _PORTS[table.tls]
    if table.tls == "implicit":
        return _BoundedTLS(table.host, port, seconds, context=ssl.create_default_context())
    return _Bounded(table.host, port, seconds)


class _Lines:
    """The server's lines until a moment."""

    def __init__(self, file: Any, until: float) -> None:
        self._file, self._until = file, until

    def readline(self, most: int) -> bytes:
        if time.monotonic() > self._until:
            raise TimeoutError
        line: bytes = self._file.readline(most)
        return line

    def close(self) -> None:
        self._file.close()


class _Bounded(smtplib.SMTP):
    """smtplib's limit is of each read: a reply of more and more lines would go on, and take memory, for ever."""

    def __init__(self, host: str, port: int, seconds: float, **other: Any) -> None:
        self._until = time.monotonic() + seconds
        super().__init__(host, port, timeout=seconds, **other)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Lines(self.sock.makefile("rb"), self._until)
        return super().getreply()


class _BoundedTLS(_Bounded, smtplib.SMTP_SSL):
    """The same with TLS from the beginning."""


@contextmanager
def _faults(seconds: float, *, may_have_arrived: bool = False) -> Iterator[None]:
    """smtplib's errors as Refused or Failed. A 5xx answer to the message itself is final, to a login it is not."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as fault:
        codes = {code for code, _ in fault.recipients.values()}
        said = f"the server refused every address, with {', '.join(map(str, sorted(codes)))}"
        raise (Refused(said) if min(codes) >= 500 else Failed(said)) from None
    except (smtplib.SMTPDataError, smtplib.SMTPSenderRefused) as fault:
        said = f"SMTP {fault.smtp_code}: {_words(fault)}"
        raise (Refused(said) if fault.smtp_code >= 500 else Failed(said)) from None
    except smtplib.SMTPResponseException as fault:
        raise Failed(f"SMTP {fault.smtp_code}: {_words(fault)}") from None
    except TimeoutError:
        raise Failed(f"no answer within {seconds:g} s", may_have_arrived=may_have_arrived) from None
    except smtplib.SMTPServerDisconnected:
        raise Failed("the server closed the connection", may_have_arrived=may_have_arrived) from None
    except smtplib.SMTPNotSupportedError as fault:
        raise Failed(f"the server lacks what the config asks for: {fault}") from None
    except (smtplib.SMTPException, OSError) as fault:
        raise Failed(f"not reached: {fault}", may_have_arrived=may_have_arrived) from None


def _words(fault: smtplib.SMTPResponseException) -> str:
    said = fault.smtp_error
    return shortened(visible(said.decode("utf-8", "replace") if isinstance(said, bytes) else said), 200)
