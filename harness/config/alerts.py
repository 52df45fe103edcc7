"""The tables [[alert]]: who is told when a service level is at risk. A struct is a kind of receiver.

What is secret must come from the environment: `receivers` fills it in, and `faults` refuses a config that holds it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from streamgauge.harness.config import header_names
from streamgauge.harness.config.duration import Duration

_SECOND = Duration.parse("1s")
_NAME = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,48}[\x21-\x7e])?")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")  # Prometheus's
_ADDRESS = re.compile(r"[^\s@<>,]+@[^\s@<>,]+")
OWN_LABELS = ("alertname", "slo", "severity", "target")  # what every alert to an Alertmanager has


class Receiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all kinds have."""

    name: str | None = None  # None: its kind. What is still to be sent belongs to the receiver of this name
    severity: Literal["page", "ticket"] | None = None  # only alerts of this severity; None: all
    timeout: Duration = Duration.parse("10s")  # of one attempt

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def called(self) -> str:
        return self.name or self.kind

    @property
    def repeated_every(self) -> Duration | None:
        """How often it is sent an alert again while that fires; None: once."""
        return None

    @property
    def is_read(self) -> bool:
        """Whether people read each message; else a program gets it, which needs the end of all that has begun."""
        return False

    def takes(self, severity: str) -> bool:
        return self.severity is None or self.severity == severity


class Webhook(Receiver, frozen=True, kw_only=True, tag_field="kind", tag="webhook"):
    url: str
    secret: str | None = None  # signs each request; None: requests are not signed
    headers: dict[str, str] = {}
    verify: bool = True  # the TLS certificate


class Slack(Receiver, frozen=True, kw_only=True, tag_field="kind", tag="slack"):
    url: str  # of an incoming webhook: a secret

    @property
    def is_read(self) -> bool:
        return True


class PagerDuty(Receiver, frozen=True, kw_only=True, tag_field="kind", tag="pagerduty"):
    routing_key: str
    url: str = "https://events.pagerduty.com/v2/enqueue"  # in the EU: https://events.eu.pagerduty.com/v2/enqueue


class Alertmanager(Receiver, frozen=True, kw_only=True, tag_field="kind", tag="alertmanager"):
    url: str  # without /api/v2/alerts
    every: Duration = Duration.parse("1m")  # how often an alert is sent again while it fires
    labels: dict[str, str] = {}  # more labels of each alert
    headers: dict[str, str] = {}
    verify: bool = True
    watchdog: bool = False  # whether an alert fires for as long as the monitor lives

    @property
    def repeated_every(self) -> Duration:
        return self.every


class Email(Receiver, frozen=True, kw_only=True, tag_field="kind", tag="email"):
    to: list[str]
    sender: str = msgspec.field(name="from")
    host: str
    port: int | None = None  # None: 587, or 465 with tls = "implicit"
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    user: str | None = None
    password: str | None = None

    @property
    def is_read(self) -> bool:
        return True


class Command(Receiver, frozen=True, kw_only=True, tag_field="kind", tag="command"):
    command: list[str]  # the program and its arguments; no shell is in between
    environment: dict[str, str] = {}  # besides PATH, HOME, LANG and TZ, all that the program gets


class Apprise(Receiver, frozen=True, kw_only=True, tag_field="kind", tag="apprise"):
    url: str  # of one of apprise's services: a secret

    @property
    def is_read(self) -> bool:
        return True


AnyReceiver = Webhook | Slack | PagerDuty | Alertmanager | Email | Command | Apprise

_SECRET = {  # the keys whose values must come from the environment
    "webhook": ("secret",),
    "slack": ("url",),
    "pagerduty": ("routing_key",),
    "email": ("password",),
    "apprise": ("url",),
}
_LONGEST_TIMEOUT = Duration.parse("1m")
_EVERY = (Duration.parse("1s"), Duration.parse("3m"))  # clients of an Alertmanager repeat an alert that often


def faults(receivers: Sequence[AnyReceiver]) -> Iterator[str]:
    names: set[str] = set()
    for number, receiver in enumerate(receivers):
        yield from (f"alert[{number}]{fault}" for fault in _of_receiver(receiver))
        if receiver.called in names:
            yield f"alert[{number}]: a second receiver called {receiver.called!r}: give each a name of its own"
        names.add(receiver.called)


def _of_receiver(receiver: AnyReceiver) -> Iterator[str]:
    if receiver.name is not None and not _NAME.fullmatch(receiver.name):
        yield f".name: {receiver.name[:60]!r} is not a name: write up to 50 printable ASCII characters"
    if not _SECOND <= receiver.timeout <= _LONGEST_TIMEOUT:
        yield f'.timeout: {receiver.timeout}: write a time from "1s" to "{_LONGEST_TIMEOUT}"'
    for key in _SECRET.get(receiver.kind, ()):
        value = getattr(receiver, key)
        if value is not None and "${" not in value:
            yield f".{key}: is a secret: write ${{NAME}} here, and set NAME in the environment"
    yield from _of_named_values(receiver)
    if "${" not in (url := getattr(receiver, "url", "")) and ("?" in url or "@" in url):
        yield ".url: may hold a secret behind its ? or before its @: write ${NAME}, and set NAME in the environment"
    if isinstance(receiver, Alertmanager):
        yield from _of_alertmanager(receiver)
    if isinstance(receiver, Email):
        yield from _of_email(receiver)
    if isinstance(receiver, Command) and not (receiver.command and receiver.command[0]):
        yield '.command: empty: write a program and its arguments, as in ["/usr/local/bin/notify", "oncall"]'


def _of_named_values(receiver: AnyReceiver) -> Iterator[str]:
    for name in getattr(receiver, "headers", {}):
        if not header_names.NAME.fullmatch(name):
            yield f".headers: {name[:60]!r} is not a header's name: write letters, digits and dashes"
    for table in ("headers", "environment"):
        for name, value in getattr(receiver, table, {}).items():
            if header_names.OF_SECRETS.search(name) and "${" not in value:
                yield f".{table}.{name}: is a secret: write ${{NAME}} here, and set NAME in the environment"


def _of_alertmanager(receiver: Alertmanager) -> Iterator[str]:
    shortest, longest = _EVERY
    if not shortest <= receiver.every <= longest:
        yield f'.every: {receiver.every}: write a time from "{shortest}" to "{longest}"'
    for name in receiver.labels:
        if name in OWN_LABELS:
            yield f".labels.{name}: every alert has this label already; take another name"
        elif not _LABEL.fullmatch(name):
            yield f".labels: {name!r} is not a label's name: write letters, digits and _"


def is_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None


def _of_email(receiver: Email) -> Iterator[str]:
    if not receiver.to:
        yield ".to: empty: write at least one address"
    for key, address in (*(("to", each) for each in receiver.to), ("from", receiver.sender)):
        if "${" not in address and not is_address(address):
            yield f".{key}: {address!r} is not an address: write it as in oncall@example.org"
    if (receiver.user is None) != (receiver.password is None):
        yield ": user and password go together; give both or neither"
    if receiver.port is not None and not 0 < receiver.port < 65_536:
        yield f".port: {receiver.port} is not a port"
    if receiver.password is not None and receiver.tls == "none":
        yield '.tls: without it, anybody on the way could read the password: write "starttls" or "implicit"'
