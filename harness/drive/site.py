"""The target of a run, prepared once for all its clients. Opens no connection."""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import gevent
import msgspec
from gevent.lock import Semaphore

from streamgauge import __version__
from streamgauge.harness.config.schema import Target
from streamgauge.harness.config.secrets import filled_headers
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols import Protocol, for_target
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.record.clock import RunClock

_LONGEST_TURN = 0.001  # seconds of decoding before the gevent loop gets to read
_STREAM, _DOCUMENT = b"\r\naccept: text/event-stream\r\n", b"\r\naccept: application/json\r\n"
_SHORTEST_SECRET = 8  # characters; shorter words of a header are no keys, and masking them would garble every detail


class Decoding:
    """A lock (`with`) under which one stream at a time is decoded, with a break for the gevent loop every millisecond.

    If a hundred streams that end together were decoded without a break, the tokens of all others would pile up in the
    kernel, and several would share one stamp. A break after each stream would cost more, since the decoder's code
    would no longer be in the processor's cache.
    """

    def __init__(self) -> None:
        self._turn = Semaphore()

    def __enter__(self) -> None:
        self._turn.acquire()
        if time.time() - gevent.get_hub().loop.now() > _LONGEST_TURN:  # `now` is when the loop last polled
            try:
                gevent.sleep(1e-6)  # a timer: `sleep(0)` would return before the loop polls
            except BaseException:
                self._turn.release()
                raise

    def __exit__(self, *_: object) -> None:
        self._turn.release()


@dataclass(frozen=True, slots=True)
class Site:
    endpoint: Endpoint
    target: Target
    protocol: Protocol
    clock: RunClock
    head: bytes  # the request line and headers up to content-length; holds secrets, so it is never shown
    secret: re.Pattern[str]  # matches what must be masked in the server's text, see `_secret`
    decoding: Decoding = field(default_factory=Decoding)

    @classmethod
    def of(cls, host: str, target: Target, clock: RunClock) -> "Site":
        """TargetError if `host` is not a URL, ConfigError for a missing environment variable."""
        endpoint = Endpoint.of(host, verify=target.verify)
        protocol = for_target(target)
        headers = filled_headers(target)
        head = _head(endpoint, protocol.path, {**protocol.headers, **headers})
        return cls(endpoint, target, protocol, clock, head, _secret(headers.values()))

    def request(self, prompt: Prompt, last_id: str | None = None) -> bytes:
        """The HTTP request for an answer to `prompt`; with `last_id`, for the rest of the answer after that event."""
        body = msgspec.json.encode(self.protocol.request(self.target, prompt, prompt.streamed))
        resume = b"" if last_id is None else b"last-event-id: %b\r\n" % last_id.encode()
        head = self.head if prompt.streamed else self.head.replace(_STREAM, _DOCUMENT, 1)
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (head, resume, len(body), body)


def _head(endpoint: Endpoint, path: str, headers: Mapping[str, str]) -> bytes:
    """Later headers win over earlier ones of the same name."""
    named = {
        "host": endpoint.authority,
        "user-agent": f"streamgauge/{__version__}",
        "accept": "text/event-stream",
        "accept-encoding": "identity",  # a compressed stream has no arrival times
        "content-type": "application/json",
        **{name.lower(): value for name, value in headers.items()},
    }
    lines = [f"POST {endpoint.base}{path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _secret(values: Iterable[str]) -> re.Pattern[str]:
    """Matches every word that begins like a word of these header values.

    Only the beginning, because a server may repeat a key without its `Bearer`, or cut it short.
    """
    words = {word for value in values for word in re.split(r"[\s,;=]+", value) if len(word) >= _SHORTEST_SECRET}
    beginnings = sorted({re.escape(word[:_SHORTEST_SECRET]) for word in words})
    return re.compile(rf"(?:{'|'.join(beginnings)})[^\s\"',;<>]*" if beginnings else r"(?!)")
