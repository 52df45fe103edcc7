"""Asks one question, with the client, the reading and the limits of a run, and keeps all that came."""

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import gevent

from streamgauge.harness.config.redaction import Redaction
from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive import network, prompts
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.clients import Client, find
from streamgauge.harness.drive.clients.question import Question
from streamgauge.harness.drive.network import Link, Network
from streamgauge.harness.drive.prompts import Prompt
from streamgauge.harness.drive.protocols import Protocol
from streamgauge.harness.drive.protocols.protocol import line
from streamgauge.harness.drive.reading.delivery import Delivery
from streamgauge.harness.drive.reading.transcript import Interrupted, Transcript, observe
from streamgauge.harness.drive.site import Site
from streamgauge.harness.drive.wire.loop import Loop
from streamgauge.harness.drive.wire.reads import Read, Reads
from streamgauge.harness.record.clock import RunClock
from streamgauge.harness.record.observation import StreamObservation

_LONGEST_HEADER = 200  # characters
_LONGEST_WORDS = 4_096  # bytes of a body that are looked at as text
_PATIENT, _DIRECT = Plan(), network.find("direct")


@dataclass(frozen=True, slots=True)
class Probe:
    """One question and all that came of it."""

    host: str
    client: str
    site: Site
    prompt: Prompt
    seen: StreamObservation
    transcript: Transcript
    body: bytes
    asked: bool = True  # False: the bytes are those of a file, so nothing is known of their times and of the request
    stopped: bool = False  # the person at the terminal did not wait for the end
    words: str = field(default="", init=False)  # the beginning of the body as one line, without secrets

    def __post_init__(self) -> None:
        text = self.body[:_LONGEST_WORDS].decode("utf-8", "replace")
        object.__setattr__(self, "words", line(self.secret.blotted(text), _LONGEST_WORDS))

    @property
    def target(self) -> Target:
        return self.site.target

    @property
    def protocol(self) -> Protocol:
        return self.site.protocol

    @property
    def secret(self) -> Redaction:
        return self.site.secret

    @property
    def status(self) -> int | None:
        return self.transcript.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer, each as one line without secrets; names in lower case."""
        blotted = self.secret.blotted
        return {name: line(blotted(value), _LONGEST_HEADER) for name, value in self.transcript.headers.items()}

    @property
    def path(self) -> str:
        """The path that was asked, without what may be secret in it."""
        path = self.site.request_format.path_for(self.prompt)
        return self.secret.blotted(f"{self.site.endpoint.base}{path}")

    @property
    def url(self) -> str:
        return f"{self.site.endpoint.origin}{self.path}"

    def ms(self, moment: int | None) -> float | None:
        """A moment of the record as ms since the question was due."""
        return None if moment is None or not self.asked else (moment - self.seen.due_at) / 1e6


Ask = Callable[[str, Target, str, str], Probe]  # `ask`, or what asks in its place


def ask(host: str, target: Target, client: str, text: str) -> Probe:
    """Ask, and wait for the end of the answer or for Ctrl-C.

    TargetError for a host that is not a URL; ConfigError or ScenarioError for a question that cannot be put.
    """
    site = Site.of(host, target, RunClock.starting_at(time.time_ns()))
    person = find(client)(site)
    prompt = prompts.Prompt((("user", text),), conversation=str(uuid4()))
    asking, stops = gevent.spawn(put, person, site, client, prompt), []
    # By the loop: Python's own handler would raise in the middle of whatever runs.
    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler
    watcher = gevent.signal_handler(signal.SIGINT, lambda: stops.append(asking.kill(block=False)))
    try:
        probe = asking.get()
    finally:
        watcher.cancel()
        signal.signal(signal.SIGINT, before)
        person.close()
    if not isinstance(probe, Probe):  # stopped before anything was tried
        raise KeyboardInterrupt
    return replace(probe, host=host, stopped=bool(stops))


def put(
    person: Client, site: Site, client: str, prompt: Prompt, plan: Plan = _PATIENT, road: Network = _DIRECT
) -> Probe | None:
    """Ask in this greenlet. If it is killed, what came until then; None if nothing was tried."""
    kept: list[Transcript] = []
    try:
        Loop.current()  # made now, or the first phase would hold the time that this and the loop's start take
        gevent.sleep(0.001)
        due_at = time.monotonic_ns()
        question = Question(prompt, plan, Link(road, 1), due_at, _identity(site, client), watch=kept.append)
        seen = person.stream(question).observation
    except Interrupted as end:
        seen = end.seen
    except gevent.GreenletExit:
        return None
    return Probe(site.endpoint.origin, client, site, prompt, seen, kept[-1], bytes(kept[-1].body)) if kept else None


def reread(body: bytes, target: Target) -> Probe:
    """The bytes of a body, such as those of a file, read as if a server had just sent them in one piece."""
    host = "http://localhost"
    site = Site.of(host, target, RunClock.starting_at(time.time_ns()))
    now = time.monotonic_ns()
    reads = Reads.of(Read(len(body), 0, now)) if body else Reads()
    delivery = Delivery(Link(_DIRECT, 1), site.clock, now, reads)
    transcript = Transcript(
        now, delivery, started_at=now, ended_at=now, status=200, headers={}, body=body, reads=reads
    )  # fmt: skip
    seen = observe(transcript, site, _identity(site, "wire"))
    return Probe(host, "wire", site, prompts.ask(""), seen, transcript, body, asked=False)


def _identity(site: Site, client: str) -> dict[str, Any]:
    return {
        "scenario": "try",
        "user": "you",
        "protocol": site.protocol.name,
        "client": client,
        "network": "direct",
        "behaviour": "patient",
    }
