"""The target of a run, prepared once for all its clients. Opens no connection."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import gevent
from gevent.lock import Semaphore

from streamgauge import __version__
from streamgauge.harness.config import credentials, literals
from streamgauge.harness.config.credentials import Credential
from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.config.schema import Target
from streamgauge.harness.config.secrets import Variables, filled_headers
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols import for_target
from streamgauge.harness.drive.protocols.protocol import Protocol
from streamgauge.harness.drive.request import RequestFormat
from streamgauge.harness.drive.wire import turns
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.drive.wire.stamps import Stamping
from streamgauge.harness.record.clock import RunClock

_LATE = 10_000_000  # ns; as much as a request may be sent late
_BREAKS = 3  # at most, while somebody connects
_STREAM, _DOCUMENT = "text/event-stream", "application/json"  # what a request accepts


class Decoding:
    """A lock (`with`) under which one stream at a time is decoded, with a break for the gevent loop every millisecond.

    If a hundred streams that end together were decoded without a break, the tokens of all others would pile up in the
    kernel, and several would share one stamp. A break after each stream would cost more, since the decoder's code
    would no longer be in the processor's cache.
    """

    def __init__(self) -> None:
        self._turn = Semaphore()
        self._holder: object = None  # the greenlet that has the turn

    def __enter__(self) -> None:
        try:
            self._begin_turn()
        except BaseException:
            self._end_turn()
            raise

    def __exit__(self, *_: object) -> None:
        self._end_turn()

    def breathe(self) -> None:
        """In the middle of a long stream: if the turn was long, let the loop poll and other streams be decoded."""
        if turns.over():
            self._end_turn()
            breathe()
            self._begin_turn()

    def _begin_turn(self) -> None:
        self._turn.acquire()
        self._holder = gevent.getcurrent()
        breathe()  # a turn that ends wakes the next stream before the loop polls

    def _end_turn(self) -> None:
        """Nothing if this greenlet was killed while it waited for its turn."""
        if self._holder is gevent.getcurrent():
            self._holder = None
            self._turn.release()


class Connecting:
    """How much later than the kernel this process notices its connections: a part of TTFT that is not the server's.

    Over TLS, this includes how much later it notices each of the server's answers in the handshake.
    """

    def __init__(self) -> None:
        self.late = 0  # connections that were noticed _LATE or more after the kernel had them
        self._most = 0  # ns

    def add(self, lag: int | None) -> None:
        if lag is not None:
            self.late += lag >= _LATE
            self._most = max(self._most, lag)

    def take_most(self) -> float:
        """The largest lag since the last call, ms."""
        most, self._most = self._most, 0
        return most / 1e6


def breathe() -> None:
    """Let the gevent loop poll if its turn was long enough; again and again while somebody connects, within limits."""
    for _ in range(_BREAKS if turns.short() else 1):
        if turns.over():
            gevent.sleep(1e-6)  # a timer: `sleep(0)` would return before the loop polls


@dataclass(frozen=True, slots=True)
class Site:
    """The target as one user asks it. Users who have no credentials of their own share one site."""

    endpoint: Endpoint
    target: Target
    protocol: Protocol
    clock: RunClock
    request_format: RequestFormat
    headers: Mapping[str, str]  # of every request, names in lower case; hold secrets, so they are never shown
    own_headers: Mapping[str, str]  # those of the config among them
    secret: Redaction  # of what a server may repeat of the headers
    usual_head: bytes  # of a request for a stream, up to the content length's value; b"": they differ
    credentials: tuple[Credential, ...]
    decoding: Decoding = field(default_factory=Decoding)
    connecting: Connecting = field(default_factory=Connecting)
    stamping: Stamping = field(default_factory=Stamping)

    @classmethod
    def of(cls, host: str, target: Target, clock: RunClock) -> "Site":
        """The site of the first user.

        TargetError if `host` is not a URL, ConfigError for a missing environment variable or wrong credentials.
        """
        endpoint = Endpoint.of(host, verify=target.verify)
        protocol = for_target(target)
        endpoint = replace(endpoint, base=_base_before(endpoint.base, protocol.path))
        found = credentials.load(target.credentials)
        parts = _for_user(endpoint, target, protocol, "user-1", found[0] if found else None)
        return cls(endpoint, target, protocol, clock, *parts, found)

    def for_user(self, user: str, number: int) -> "Site":
        """The site of one user, who gets the credential with this number; after the last, they are dealt again."""
        if not self.credentials and not self.request_format.personal:
            return self  # nothing that is sent depends on the user
        credential = self.credentials[number % len(self.credentials)] if self.credentials else None
        parts = _for_user(self.endpoint, self.target, self.protocol, user, credential)
        of_all = self.credentials, self.decoding, self.connecting, self.stamping
        return Site(self.endpoint, self.target, self.protocol, self.clock, *parts, *of_all)

    def headers_for(self, prompt: Prompt, last_id: str | None = None) -> dict[str, str]:
        """The headers of one request, without those that say how long its body is. They hold secrets."""
        resume = {} if last_id is None else {"last-event-id": last_id}
        return {**_accepting(_STREAM if prompt.streamed else _DOCUMENT, self.headers), **resume}

    def request(self, prompt: Prompt, last_id: str | None = None) -> bytes:
        """The HTTP request for an answer to `prompt`; with `last_id`, for the rest of the answer after that event."""
        form = self.request_format
        body = form.encoded(prompt)
        if self.usual_head and prompt.streamed and last_id is None:
            return b"%b%d\r\n\r\n%b" % (self.usual_head, len(body), body)
        length = b"" if form.content_type is None else b"content-length: %d\r\n" % len(body)
        line = f"{form.method} {self.endpoint.base}{form.path_for(prompt)}"
        return _head(line, self.headers_for(prompt, last_id)) + length + b"\r\n" + body


def check(target: Target) -> None:
    """ConfigError for requests that cannot be made: a missing variable, wrong credentials, an unknown key in `omit`."""
    Site.of("http://localhost", target, RunClock.starting_at(0))


def _for_user(
    endpoint: Endpoint, target: Target, protocol: Protocol, user: str, credential: Credential | None
) -> tuple[RequestFormat, dict[str, str], dict[str, str], Redaction, bytes]:
    """The parts of a site that may depend on the user."""
    variables = Variables(credential=credential)
    own = {name.lower(): value for name, value in filled_headers(target, variables).items()}
    form = RequestFormat.of(target, protocol, variables, user)
    headers = {
        "host": endpoint.authority,
        "user-agent": f"streamgauge/{__version__}",
        "accept-encoding": "identity",  # unless the config asks for what browsers ask for
        **({} if form.content_type is None else {"content-type": form.content_type}),
        **protocol.headers,
        **own,
    }
    usual = b""
    if form.content_type is not None and not form.path_varies:
        usual = _head(f"{form.method} {endpoint.base}{form.path}", _accepting(_STREAM, headers)) + b"content-length: "
    return form, headers, own, Redaction([*own.values(), *variables.used, *literals.found(target).values()]), usual


def _accepting(accept: str, headers: Mapping[str, str]) -> dict[str, str]:
    """With this Accept header, unless the config has one."""
    return {**headers, "accept": headers.get("accept", accept)}


def _head(line: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _base_before(base: str, path: str) -> str:
    """The path of the host's URL, without what the target's path repeats.

    People give `https://api.example/v1`, as SDKs want it, or the endpoint's whole URL.
    """
    if base.endswith(path):
        return base.removesuffix(path)
    head, _, last = base.rpartition("/")
    return head if re.fullmatch(r"v\d\w*", last) and path.startswith(f"/{last}/") else base
