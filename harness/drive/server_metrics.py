"""Samples of the server's own vitals, from the metrics page that Prometheus would scrape, while a run goes on.

Whatever the page does, the load does not notice: one request at a time, bounded in time and size, of which only the
wanted lines are parsed. What a page did not say is absent, never 0. Knows no database.
"""

import logging
import math
import re
import ssl
from collections.abc import Callable, Mapping
from urllib.parse import urljoin

import gevent
import httpx

from streamgauge.harness.config.schema import Metrics, Target
from streamgauge.harness.config.secrets import public
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.idleness import idle_level
from streamgauge.harness.record.vitals import Vital, VitalSample

_EVERY = 1.0  # seconds between two samples during the run
_EVERY_AFTER = 0.25  # and after the last stream, to find out how soon the server stops
_PATIENCE = 1.0  # seconds for the page
_LARGEST = 1 << 20  # bytes of the page
_TELLS = {
    Vital.SERVER_ACTIVE: "how soon the server stopped",
    Vital.SERVER_GENERATED: "how much it generated for nobody",
}


class _Unreadable(Exception):
    """The page could not be read; the message says why in a few words for a person."""


class ServerWatch:
    """Samples one server's vitals and hands them on as they come. `schema.Metrics` names the page and its metrics."""

    def __init__(
        self, target: Target, metrics: Metrics, host: str, clock: RunClock, see: Callable[[list[VitalSample]], None]
    ) -> None:
        """`metrics` as returned by `secrets.filled_metrics`. ConfigError for a URL or a header that cannot be sent."""
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request, and Locust prints that
        self._page = _Page(target, metrics, host)
        self._clock = clock
        self._see = see
        self._first: Mapping[Vital, float] = {}  # the sample before the first stream
        self._idle_level: float | None = None  # see `idle_level`
        self._greenlet = gevent.Greenlet(self._sample_on)

    def start(self) -> None:
        """Take the first sample, and go on in a greenlet of its own. Call it before the first stream.

        A server that is busy then is sampled again a second later: only its counter tells whether it works for other
        people, or whether its gauge is stale.
        """
        self._first = self._sample()
        before = [self._first]
        if self._first.get(Vital.SERVER_ACTIVE):
            gevent.sleep(_EVERY)
            before.append(self._sample())
        active = [page[Vital.SERVER_ACTIVE] for page in before if Vital.SERVER_ACTIVE in page]
        generated = [page[Vital.SERVER_GENERATED] for page in before if Vital.SERVER_GENERATED in page]
        self._idle_level = idle_level(active, generated)
        self._greenlet.start()

    def finish(self, seconds: float) -> list[str]:
        """Sample until the server is idle again, or for so many seconds. Call it when the last stream has ended.

        Returns notes for the run's record: what is unknown, and why.
        """
        self._greenlet.kill()
        until = self._clock.now() + seconds * 1e9
        now = self._sample()
        seen = {*now}
        while self._first and not self._idle(now) and self._clock.now() < until:
            gevent.sleep(_EVERY_AFTER)
            now = self._sample()
            seen |= now.keys()
        self._page.close()
        unknown = [tells for vital, tells in _TELLS.items() if vital not in self._first or vital not in seen]
        if not unknown:
            return []
        return [
            f"{' and '.join(unknown)} is not known: {self._page.shown} said nothing of it before or after the streams "
            f"({self._page.fault})"
        ]

    def _idle(self, now: Mapping[Vital, float]) -> bool:
        return self._idle_level is not None and now.get(Vital.SERVER_ACTIVE, math.inf) <= self._idle_level

    def _sample_on(self) -> None:
        due = self._clock.now()
        while True:
            due = max(due + int(_EVERY * 1e9), self._clock.now())
            gevent.sleep((due - self._clock.now()) / 1e9)
            self._sample()

    def _sample(self) -> dict[Vital, float]:
        """What the page says now, which is also handed on. A vital that it does not say is left out."""
        values = self._page.read()
        at = self._clock.now()
        self._see([VitalSample(at, vital, value) for vital, value in values.items()])
        return values


class _Page:
    """The metrics page of one server."""

    def __init__(self, target: Target, metrics: Metrics, host: str) -> None:
        self.shown = public(target)["metrics"]["url"]  # without secrets
        self.fault = ""  # of the latest time that it could not be read, or not wholly
        self._metrics = {Vital.SERVER_ACTIVE: metrics.active, Vital.SERVER_GENERATED: metrics.generated}
        context = ssl.create_default_context()
        if not target.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        headers = {"accept": "text/plain;version=0.0.4", "accept-encoding": "identity", **metrics.headers}
        try:
            self._http = httpx.Client(
                headers=headers,
                verify=context,
                timeout=None,  # noqa: S113 - httpx has no limit for the whole answer; `read` has one
                limits=httpx.Limits(max_keepalive_connections=0),  # the server may close a kept one as we send
                trust_env=False,
            )
            self._request = self._http.build_request("GET", urljoin(host, metrics.url))
        except (httpx.InvalidURL, UnicodeError):
            raise ConfigError(f"target.metrics: {self.shown!r}, or one of its headers, cannot be sent") from None

    def close(self) -> None:
        self._http.close()

    def read(self) -> dict[Vital, float]:
        """The server's vitals; `fault` says why one is missing."""
        try:
            with gevent.Timeout(_PATIENCE, _Unreadable(f"no answer within {_PATIENCE:g} s")):
                text = self._fetch()
        except _Unreadable as fault:
            self.fault = str(fault)
            return {}
        except (httpx.ConnectError, OSError, UnicodeError) as fault:
            self.fault = str(fault)[:200]
            return {}
        except httpx.HTTPError:  # its message may quote the server
            self.fault = "the connection broke, or what came is no HTTP"
            return {}
        totals = {vital: total(text, metric) for vital, metric in self._metrics.items()}
        lacking = [metric for vital, metric in self._metrics.items() if totals[vital] is None]
        if lacking:
            self.fault = f"the page has no {' and no '.join(lacking)}"
        return {vital: value for vital, value in totals.items() if value is not None}

    def _fetch(self) -> bytes:
        answer = self._http.send(self._request, stream=True)
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
    """The sum of a metric's samples over all labels. None if the page has none, or one that is not a finite number.

    The page is Prometheus's text format 0.0.4 or OpenMetrics; its other lines are not parsed, and may be anything.
    """
    values = []
    for found in re.finditer(_SAMPLE % metric.encode(), page, re.MULTILINE):
        try:
            values.append(float(found[1]))
        except ValueError:
            return None
    return sum(values) if values and all(map(math.isfinite, values)) else None


# name {label="value",…} number: a label's value may hold anything but a line end, with a backslash before quotes. The
# possessive quantifiers (++, *+) never backtrack, so that no page can make the search slow.
_SAMPLE = rb"""^[ \t]*%b[ \t]*+(?:\{(?:[^"}\n]|"(?:[^"\\\n]|\\.)*+")*+\}[ \t]*+|(?<=[ \t]))(\S+)"""
