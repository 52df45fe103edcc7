"""Samples the server's own vitals during a run, from the metrics page that Prometheus would scrape.

A slow, large or broken page must not disturb the load: there is one request at a time, limited in time and size, and
only the wanted lines are parsed. A vital that the page does not report is absent, never 0.
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
_EVERY_AFTER = 0.25  # seconds between two samples after the last stream, to find when the server stops
_TIMEOUT = 1.0  # seconds for the whole page
_LARGEST = 1 << 20  # bytes of the page
_SHOWS = {  # what a vital is needed for, as a note names it
    Vital.SERVER_ACTIVE: "how soon the server stopped",
    Vital.SERVER_GENERATED: "how much it generated for nobody",
}


class _Unreadable(Exception):
    """The page could not be read; the message gives the reason."""


class ServerWatch:
    """Samples one server's vitals and passes them on. `schema.Metrics` names the page and its metrics."""

    def __init__(
        self, target: Target, metrics: Metrics, host: str, clock: RunClock, keep: Callable[[list[VitalSample]], None]
    ) -> None:
        """`metrics` as returned by `secrets.filled_metrics`; `keep` is called with each sample.

        ConfigError for a URL or a header that cannot be sent.
        """
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request, and Locust would print that
        self._page = _Page(target, metrics, host)
        self._clock = clock
        self._keep = keep
        self._first: Mapping[Vital, float] = {}  # the sample before the first stream
        self._idle_level: float | None = None  # see `idle_level`
        self._greenlet = gevent.Greenlet(self._keep_sampling)

    def start(self) -> None:
        """Take the first sample, then go on sampling in a greenlet. Call it before the first stream.

        A server that is busy by its gauge is sampled again a second later: if its counter has not moved meanwhile, the
        gauge is stale; otherwise the server works for other people.
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
        """Sample until the server is idle again, for at most `seconds`. Call it when the last stream has ended.

        Returns notes for the run's record on what is unknown, and why.
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
        unknown = [shows for vital, shows in _SHOWS.items() if vital not in self._first or vital not in seen]
        if not unknown:
            return []
        return [
            f"{' and '.join(unknown)} is not known: {self._page.shown} did not report it before or after the streams "
            f"({self._page.fault})"
        ]

    def _idle(self, now: Mapping[Vital, float]) -> bool:
        return self._idle_level is not None and now.get(Vital.SERVER_ACTIVE, math.inf) <= self._idle_level

    def _keep_sampling(self) -> None:
        due = self._clock.now()
        while True:
            due = max(due + int(_EVERY * 1e9), self._clock.now())
            gevent.sleep((due - self._clock.now()) / 1e9)
            self._sample()

    def _sample(self) -> dict[Vital, float]:
        """Read the page, and pass the values on. A vital that the page does not report is left out."""
        values = self._page.read()
        at = self._clock.now()
        self._keep([VitalSample(at, vital, value) for vital, value in values.items()])
        return values


class _Page:
    """The metrics page of one server."""

    def __init__(self, target: Target, metrics: Metrics, host: str) -> None:
        self.shown = public(target)["metrics"]["url"]  # without secrets
        self.fault = ""  # why a vital was missing when that last happened
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
                timeout=None,  # noqa: S113 - httpx cannot limit the whole answer; `read` does
                limits=httpx.Limits(max_keepalive_connections=0),  # the server may close a kept one as we send
                trust_env=False,
            )
            self._request = self._http.build_request("GET", urljoin(host, metrics.url))
        except (httpx.InvalidURL, UnicodeError):
            raise ConfigError(f"target.metrics: {self.shown!r}, or one of its headers, cannot be sent") from None

    def close(self) -> None:
        self._http.close()

    def read(self) -> dict[Vital, float]:
        """The server's vitals. If one is missing, `fault` says why."""
        try:
            with gevent.Timeout(_TIMEOUT, _Unreadable(f"no answer within {_TIMEOUT:g} s")):
                text = self._fetch()
        except _Unreadable as fault:
            self.fault = str(fault)
            return {}
        except (httpx.ConnectError, OSError, UnicodeError) as fault:
            self.fault = str(fault)[:200]
            return {}
        except httpx.HTTPError:  # its message may quote the server
            self.fault = "the connection broke, or the answer is not HTTP"
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
                raise _Unreadable("the page is compressed, which was not asked for")
            page = bytearray()
            for piece in answer.iter_raw():
                page += piece
                if len(page) > _LARGEST:
                    raise _Unreadable(f"the page is larger than {_LARGEST >> 20} MiB")
            return bytes(page)
        finally:
            answer.close()


def total(page: bytes, metric: str) -> float | None:
    """The sum of a metric's samples over all labels. None if the page has none, or one that is not a finite number.

    The page is in Prometheus's text format 0.0.4 or OpenMetrics. Lines of other metrics are not parsed.
    """
    values = []
    for found in re.finditer(_SAMPLE % metric.encode(), page, re.MULTILINE):
        try:
            values.append(float(found[1]))
        except ValueError:
            return None
    return sum(values) if values and all(map(math.isfinite, values)) else None


# name {label="value",…} number. A label's value may hold any character but a line end; quotes in it are escaped. The
# possessive quantifiers (++, *+) never backtrack, so no page can make the search slow.
_SAMPLE = rb"""^[ \t]*%b[ \t]*+(?:\{(?:[^"}\n]|"(?:[^"\\\n]|\\.)*+")*+\}[ \t]*+|(?<=[ \t]))(\S+)"""
