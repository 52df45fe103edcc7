"""Asks for one examination: within a budget of requests and of time, and until the person at the terminal stops it.

What is asked is kept by the experiment's name. Nothing here waits without a bound.
"""

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import uuid4

import gevent
from gevent.event import Event
from gevent.pool import Pool
from msgspec.structs import replace

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Limits, Target, Timeouts
from streamgauge.harness.doctor.cancelling import Way
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.drive import network
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients.attempt import Attempt
from streamgauge.harness.drive.clients.question import Question, Reply
from streamgauge.harness.drive.clients.wire import WireClient
from streamgauge.harness.drive.network import Network
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.wire.broken import Broken
from streamgauge.harness.drive.wire.connection import Connection
from streamgauge.harness.drive.wire.response import Response
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.probe import asking
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.record.clock import RunClock

QUESTION = "Count from one to forty in words, one word on each line. Write nothing else."
_TOKENS = 96  # of an answer, at most: forty words and some room
_LONGEST = 90.0  # seconds for all questions; the one under way may still end
_TOO_MANY = 429
_MORE_TRIES = 2
_SECOND = 1_000_000_000
_MOST = Timeouts(
    connect=Duration(5 * _SECOND), first_token=Duration(33 * _SECOND), idle=Duration(32 * _SECOND),
    total=Duration(35 * _SECOND),
)  # fmt: skip  # longer than what gateways, routers and workers give up after: 29 and 30 s
_USUAL = Timeouts()
_LIMITS = Limits(stream_bytes=500_000, event_bytes=250_000)
_PAGE = Limits(stream_bytes=1_000_000, event_bytes=1_000_000)  # a metrics page has no events


class Spent(StreamgaugeError):
    """No more requests may be sent; the message says why."""


class Person(NamedTuple):
    """Who asks: keeps its connection between two questions."""

    site: Site
    client: "Counted"


class Counted(WireClient):
    """Asks once more only within the budget if the server closes a kept connection on the question."""

    def __init__(self, site: Site, session: "Session") -> None:
        super().__init__(site)
        self._session = session
        self._tries = 0  # of the question under way
        self._under_way: Attempt | None = None

    @property
    def so_far(self) -> Response | None:
        """What has arrived of the answer under way; None between two answers."""
        return None if self._under_way is None else self._under_way.so_far

    def _try(self, attempt: Attempt, question: Question) -> Broken | None:
        self._under_way = attempt
        try:
            return super()._try(attempt, question)
        finally:
            self._under_way = None

    def stream(self, question: Question) -> Reply:
        self._tries = 0
        return super().stream(question)

    def _connection(self) -> tuple[Connection, bool]:
        connection, kept = super()._connection()
        self._tries += 1
        if self._tries > 1:  # the first one was counted when it was asked
            self._session.requests += 1
        return connection, kept and self._session.requests < self._session.budget


class _Whole(WireClient):
    """Sends one request that is given as bytes."""

    def __init__(self, site: Site, request: bytes) -> None:
        super().__init__(site)
        self._request = request

    def _converse(self, attempt: Any, question: Any) -> None:  # noqa: ARG002 - the request is there already
        attempt.converse(self._request)


@dataclass
class Session:
    host: str
    target: Target
    origin: str | None
    budget: int
    question: str = QUESTION
    slow: float = 0.0  # seconds for which a stream is held silent; 0: none is
    lines: str = ""  # of the config, that were found and not given
    cancel: Way | None = None  # how an answer is cancelled by its id; None: as its protocol says
    requests: int = 0
    seen: dict[str, Seen] = field(default_factory=dict)
    untried: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    first: Probe | None = None  # the answer that decides whether the rest is worth asking
    _stop: Event = field(default_factory=Event)
    _running: dict[str, Any] = field(default_factory=dict)  # greenlets, by experiment
    _kept: list[WireClient] = field(default_factory=list)  # whose connections are watched until the end
    _watching: list[Any] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _over: str = ""  # why no more is asked

    def __post_init__(self) -> None:
        self.target = bounded(self.target)

    @property
    def stopped(self) -> bool:
        return bool(self._stop.is_set())

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def spent(self) -> str:
        """Why no more requests may be sent; "": they may."""
        if self.stopped:
            return "it was stopped"
        if self.requests >= self.budget:
            return f"the budget of {self.budget:,} requests was used up"
        if self.seconds > _LONGEST + self.slow:
            return f"the {_LONGEST:.0f} s for all questions were over"
        return self._over

    def prompt(self, **more: Any) -> Prompt:
        """The ordinary question; `more` as for Prompt."""
        return Prompt((("user", self.question),), conversation=str(uuid4()), **more)

    def give_up(self, why: str) -> None:
        """Ask nothing more."""
        self._over = why

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """In this block, Ctrl-C ends the questions under way and asks no others."""
        before = signal.getsignal(signal.SIGINT) or signal.default_int_handler
        watcher = gevent.signal_handler(signal.SIGINT, self._stop_all)
        try:
            yield
        finally:
            watcher.cancel()
            signal.signal(signal.SIGINT, before)

    def _stop_all(self) -> None:
        self._stop.set()
        for name in list(self._running):
            self.end(name)

    def end(self, name: str) -> None:
        """End the experiment's question, if it is under way; what came until then is kept."""
        if name in self._running:
            self._running[name].kill(block=False)

    def under_way(self, name: str) -> bool:
        """Whether the experiment's question is asked now."""
        return name in self._running

    def wait_for_end(self, name: str, seconds: float) -> None:
        """Wait until the experiment's question is answered, for at most so long, unless the examination is stopped."""
        until = time.monotonic() + seconds
        while self.under_way(name) and not self.stopped and time.monotonic() < until:
            self._stop.wait(0.02)

    def wait(self, seconds: float) -> None:
        """Wait, unless the examination is stopped."""
        self._stop.wait(seconds)

    def watch_idle(self, name: str, person: Person) -> None:
        """Note for how long the server keeps the person's idle connection, as far as the examination lasts."""

        def watch() -> None:
            began = time.monotonic()
            while person.client.connected:
                self.figures[f"{name}_open"] = time.monotonic() - began
                gevent.sleep(0.25)
            self.figures[f"{name}_closed"] = time.monotonic() - began

        if person.client.connected:
            self._watching.append(gevent.spawn(watch))

    def close(self) -> None:
        for greenlet in self._watching:
            greenlet.kill()
        for client in self._kept:
            client.close()

    def wait_for(self, other: Any, seconds: float) -> None:
        """Wait until another thread is ready, for at most so long, unless the examination is stopped."""
        until = time.monotonic() + seconds
        while not other.ready() and not self.stopped and time.monotonic() < until:
            self._stop.wait(0.02)

    def settle(self, host: str, target: Target) -> None:
        """Ask there from now on."""
        self.host, self.target = host, bounded(target)

    def together(self, *experiments: Callable[[], Any]) -> None:
        """All of them, two at a time."""
        two = Pool(2)
        gevent.joinall([two.spawn(experiment) for experiment in experiments], raise_error=True)

    def site(self, host: str | None = None, target: Target | None = None, **headers: str) -> Site:
        """`headers`: in addition to the target's, with _ for -."""
        target = target or self.target
        own = {name: value for name, value in target.headers.items() if name.lower().replace("-", "_") not in headers}
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        target = replace(target, headers={**own, **more})
        return Site.of(host or self.host, target, RunClock.starting_at(time.time_ns()))

    def lasting(self, host: str, **headers: str) -> Person:
        """Who keeps a connection until the end of the examination."""
        site = self.site(host, None, **headers)
        client = Counted(site, self)
        self._kept.append(client)
        return Person(site, client)

    @contextmanager
    def person(self, target: Target | None = None, **headers: str) -> Iterator[Person]:
        """Who keeps a connection until the end of the block. The parameters are those of `site`."""
        site = self.site(target=target, **headers)
        client = Counted(site, self)
        try:
            yield Person(site, client)
        finally:
            client.close()

    def ask(
        self,
        name: str,
        person: Person,
        prompt: Prompt | None = None,
        plan: Plan | None = None,
        road: Network | None = None,
    ) -> Seen | None:
        """None if it may not be asked, or was stopped before anything was tried; then `untried` says why."""
        prompt = prompt or self.prompt()
        link = road or network.find("direct")
        probe = self._put(name, person.client, person.site, prompt, plan or Plan(), link) if self._may(name) else None
        if probe is None:
            return None
        if name == "as_is":
            self.first = probe
        self.seen[name] = Seen.of(probe)
        return self.seen[name]

    def ask_in_time(self, name: str, person: Person) -> Seen | None:
        """As `ask`; up to twice more, while this machine read the answer too late to tell how it came."""
        seen = self.ask(name, person)
        for _ in range(_MORE_TRIES):
            if seen is None or not seen.late or self.spent:
                break
            seen = self.ask(name, person)
        return seen

    def send(self, name: str, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Seen | None:
        """Send a whole request of our own to the host. `headers` are all that it has beside those of HTTP itself."""
        return self._sent(name, method, path, headers, body) if self._may(name) else None

    def send_at_last(
        self, seconds: float, name: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        """As `send_within`, also when nothing more is asked: for what ends something that was begun."""
        limit = gevent.spawn_later(seconds, self.end, name)
        self._sent(name, method, path, headers, body)
        limit.kill()

    def _sent(self, name: str, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Seen | None:
        site = self.site(target=replace(self.target, limits=_PAGE))
        told = {"host": site.endpoint.authority, "user-agent": site.headers["user-agent"], **headers}
        if body:
            told["content-length"] = str(len(body))
        head = "".join(f"{key}: {value}\r\n" for key, value in told.items())
        request = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1", "replace") + body
        client = _Whole(site, request)
        probe = self._put(name, client, site, self.prompt(), Plan(), network.find("direct"))
        client.close()
        if probe is None:
            return None
        url = f"{site.endpoint.origin}{site.secret.blotted(path)}"
        self.seen[name] = dataclasses.replace(Seen.of(probe, method), url=url)
        return self.seen[name]

    def send_within(
        self, seconds: float, name: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        """As `send`, and end it if it is not answered within so long."""
        if self._may(name):
            self.send_at_last(seconds, name, method, path, headers, body)

    def probe(self, host: str, target: Target, client: str, text: str) -> Probe:
        """As `asking.ask`, within the budget. Spent if it may not be asked."""
        site = Site.of(host, bounded(target), RunClock.starting_at(time.time_ns()))
        person = WireClient(site)
        prompt = Prompt((("user", text),), conversation=str(uuid4()))
        found = self._put("", person, site, prompt, Plan(), network.find("direct")) if self._may("") else None
        person.close()
        if found is None:
            raise Spent(f"{self.spent or 'stopped'}, and nothing is known of what the endpoint speaks")
        return dataclasses.replace(found, host=host, client=client, stopped=self.stopped)

    def _put(
        self, name: str, client: WireClient, site: Site, prompt: Prompt, plan: Plan, road: Network
    ) -> Probe | None:
        self.requests += 1
        greenlet = gevent.spawn(asking.put, client, site, "wire", prompt, plan, road)
        self._running[name] = greenlet
        found = greenlet.get()
        del self._running[name]
        if not isinstance(found, Probe):
            self._leave_out(name, "it was stopped")
            return None
        if name and found.status == _TOO_MANY:
            self.give_up("the server limits the rate (HTTP 429), so nothing more was asked")
        return found

    def _may(self, name: str) -> bool:
        """Whether one more request may be sent; otherwise the reason is kept."""
        if self.spent:
            self._leave_out(name, self.spent)
        return not self.spent

    def _leave_out(self, name: str, why: str) -> None:
        if name:  # without a name, it was no experiment
            self.untried[name] = why


def bounded(target: Target) -> Target:
    """The target with small answers, and waits and sizes that are no longer than an examination takes.

    A timeout that nobody changed is as long as that: no shorter, or it would come before a gateway's.
    """
    timeouts = {name: _wait(getattr(target.timeouts, name), name) for name in _MOST.__struct_fields__}
    limits = {name: min(getattr(target.limits, name), getattr(_LIMITS, name)) for name in _LIMITS.__struct_fields__}
    return replace(
        target, max_tokens=min(target.max_tokens, _TOKENS), timeouts=Timeouts(**timeouts), limits=Limits(**limits)
    )


def _wait(own: Duration, name: str) -> Duration:
    most: Duration = getattr(_MOST, name)
    return most if own == getattr(_USUAL, name) else min(own, most)
