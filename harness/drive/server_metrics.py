"""What the server says of itself while a run goes on: readings of the page that Prometheus would read.

Promises that the load does not notice, whatever the page does: one question at a time, bounded in time and size, of
which only the lines asked for are understood. A reading that fails is left out, and never 0. It knows no database.
"""

import logging
import math
import re
import ssl
from collections.abc import Callable
from urllib.parse import urljoin

import gevent
import httpx

from streamgauge.harness.config.schema import Metrics, Target
from streamgauge.harness.config.secrets import public
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.idleness import idle_level
from streamgauge.harness.record.vitals import Vital, VitalSample

_EVERY = 1.0  # seconds between readings,
_EVERY_AFTER = 0.25  # and after the last stream, when it is asked how soon the server stops
_PATIENCE = 1.0  # seconds for a reading
_LARGEST = 1 << 20  # bytes of the page
_TELLS = {
    Vital.SERVER_ACTIVE: "how soon the server stopped",
    Vital.SERVER_GENERATED: "how much it generated for nobody",
}


class _Unreadable(Exception):
    """A reading that failed, told as a person would."""


class Watch:
    """Readings of one server, handed on as they come: `server_active` and `server_generated`, see schema.Metrics."""

    def __init__(
        self, target: Target, metrics: Metrics, host: str, clock: RunClock, see: Callable[[list[VitalSample]], None]
    ) -> None:
        """`metrics` as `secrets.filled_metrics` has filled them in. ConfigError for a URL that is none."""
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of each request, and Locust prints it
        self._names = {Vital.SERVER_ACTIVE: metrics.active, Vital.SERVER_GENERATED: metrics.generated}
        self._page = public(target)["metrics"]["url"]
        self._clock = clock
        self._see = see
        context = ssl.create_default_context()
        if not target.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        asked = {"accept": "text/plain;version=0.0.4", "accept-encoding": "identity", **metrics.headers}
        try:
            self._http = httpx.Client(
                headers=asked,
                verify=context,
                timeout=None,  # noqa: S113 - ours is for the whole reading
                limits=httpx.Limits(max_keepalive_connections=0),  # one kept may be closed just when we ask
                trust_env=False,
            )
            self._question = self._http.build_request("GET", urljoin(host, metrics.url))
        except (httpx.InvalidURL, UnicodeError):
            raise ConfigError(f"target.metrics: {self._page!r}, or one of its headers, cannot be sent") from None
        self._first: dict[Vital, float] = {}
        self._level: float | None = None  # of `server_active`, where the server is idle but for others
        self._fault = ""  # of the latest reading that failed
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Take the first reading, and go on in a greenlet of its own. To be called before the first stream.

        Where the server is at work then, there is a second one a second later: whether for others, or whether its
        gauge is stale, only the counter knows.
        """
        self._first = self._read()
        before = [self._first]
        if self._first.get(Vital.SERVER_ACTIVE):
            gevent.sleep(_EVERY)
            before.append(self._read())
        self._level = idle_level(*([page[vital] for page in before if vital in page] for vital in self._names))
        self._greenlet = gevent.spawn(self._go_on)

    def finish(self, lasting: float) -> list[str]:
        """Read on until the server is as idle as at first, or for `lasting` seconds. What a person should know then.

        To be called when the last stream is over.
        """
        if self._greenlet is not None:
            self._greenlet.kill()
        until = self._clock.now() + lasting * 1e9
        last = now = self._read()
        while self._first and not self._idle(now) and self._clock.now() < until:
            gevent.sleep(_EVERY_AFTER)
            now = self._read()
            last = {**last, **now}
        self._http.close()
        unknown = self._names.keys() - (self._first.keys() & last.keys())
        if not unknown:
            return []
        told = " and ".join(_TELLS[name] for name in self._names if name in unknown)
        return [f"{told} is not known: {self._page} said nothing of it before or after the streams ({self._fault})"]

    def _idle(self, now: dict[Vital, float]) -> bool:
        return self._level is not None and now.get(Vital.SERVER_ACTIVE, math.inf) <= self._level

    def _go_on(self) -> None:
        due = self._clock.now()
        while True:
            due = max(due + int(_EVERY * 1e9), self._clock.now())
            gevent.sleep((due - self._clock.now()) / 1e9)
            self._read()

    def _read(self) -> dict[Vital, float]:
        """What the page says now; without what it does not say."""
        try:
            with gevent.Timeout(_PATIENCE, _Unreadable(f"no answer within {_PATIENCE:g} s")):
                page = self._ask()
        except _Unreadable as fault:
            self._fault = str(fault)
            return {}
        except (httpx.ConnectError, OSError, UnicodeError) as fault:
            self._fault = str(fault)[:200]
            return {}
        except httpx.HTTPError:  # its words may be the server's
            self._fault = "the connection broke, or what came is no HTTP"
            return {}
        at = self._clock.now()
        found = {name: total(page, metric) for name, metric in self._names.items()}
        there = {name: value for name, value in found.items() if value is not None}
        if len(there) < len(found):
            lacking = [metric for name, metric in self._names.items() if name not in there]
            self._fault = f"the page has no {' and no '.join(lacking)}"
        self._see([VitalSample(at, name, value) for name, value in there.items()])
        return there

    def _ask(self) -> bytes:
        answer = self._http.send(self._question, stream=True)
        try:
            if answer.status_code != httpx.codes.OK:
                raise _Unreadable(f"HTTP {answer.status_code}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise _Unreadable("it is compressed, though that was not asked for")
            page = bytearray()
            for piece in answer.iter_raw():
                page += piece
                if len(page) > _LARGEST:
                    raise _Unreadable(f"it is larger than {_LARGEST >> 20} MiB")
            return bytes(page)
        finally:
            answer.close()


def total(page: bytes, metric: str) -> float | None:
    """The sum of a metric's samples, whatever their labels. None where the page has none, or one that is no number.

    The page is Prometheus's text format 0.0.4 or OpenMetrics; its other lines are not looked at, and may be anything.
    """
    values = []
    for found in re.finditer(_SAMPLE % metric.encode(), page, re.MULTILINE):
        try:
            values.append(float(found[1]))
        except ValueError:
            return None
    return sum(values) if values and all(map(math.isfinite, values)) else None


# name {label="value",…} number: a value may hold anything but a line's end, with a backslash before quotes. It never
# steps back (++, *+), so that no page can make it slow.
_SAMPLE = rb"""^[ \t]*%b[ \t]*+(?:\{(?:[^"}\n]|"(?:[^"\\\n]|\\.)*+")*+\}[ \t]*+|(?<=[ \t]))(\S+)"""
