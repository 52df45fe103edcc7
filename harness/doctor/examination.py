"""One examination: everything is asked, and all that was seen becomes the evidence."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import gevent

from streamgauge.harness.config.schema import Target
from streamgauge.harness.doctor.cancelling import Way
from streamgauge.harness.doctor.evidence import Evidence
from streamgauge.harness.doctor.experiments import EXPERIMENTS
from streamgauge.harness.doctor.reach import Reach, look
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.doctor.session import QUESTION, Session
from streamgauge.harness.doctor.settling import Settled, settle
from streamgauge.harness.drive.protocols import PROTOCOLS
from streamgauge.harness.drive.wire.endpoint import Endpoint
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.probe.events import taken
from streamgauge.harness.probe.remedies import remedies

_LONGEST_LOOK = 15.0  # seconds, at the addresses and TLS
_SILENT = "The server took the question and then sent nothing more: its log may say why. Doctor does not wait longer."
_READ_WITH = "The answers were read with these lines, found by a first question. For the config, if they are right:"


@dataclass(frozen=True)
class Case:
    """What is to be examined."""

    url: str
    candidates: Sequence[tuple[str, Target]]  # hosts and targets; of several, the first that gets an answer is taken
    origin: str | None = None
    budget: int = 32  # requests, as many as all experiments ask for
    question: str = QUESTION
    slow: float = 0.0  # seconds for which a stream is held silent; 0: none is
    cancel: Way | None = None  # how an answer is cancelled by its id; None: as its protocol says
    experiments: Sequence[str] = tuple(EXPERIMENTS)


def examine(case: Case) -> Evidence:
    """TargetError for a URL that is none; ConfigError or ScenarioError for a question that cannot be put."""
    host, target = case.candidates[0]
    session = Session(host, target, case.origin, case.budget, case.question, case.slow, cancel=case.cancel)
    session.site()  # raises what the user must mend, before anything is sent
    session.site(case.origin)
    endpoint = Endpoint.of(host, verify=target.verify)
    with session.stoppable(), contextlib.closing(session):
        reach = gevent.get_hub().threadpool.spawn(look, endpoint.host, endpoint.port, secure=endpoint.tls is not None)
        unread = _settle(case, session) if len(case.candidates) > 1 else None
        if unread is None:
            for names in _turns(case.experiments):
                session.together(*(partial(EXPERIMENTS[name].run, session) for name in names))
        session.wait_for(reach, _LONGEST_LOOK)
    found = reach.value if reach.ready() and reach.successful() else Reach(endpoint.host, fault="it took too long")
    return _evidence(case, session, found, unread)


def _turns(experiments: Sequence[str]) -> Iterator[list[str]]:
    """The experiments in their order: those that are asked alone, and those in a row that may be beside each other."""
    for beside, names in groupby(experiments, lambda name: EXPERIMENTS[name].beside):
        found = list(names)
        yield from [found] if beside else ([name] for name in found)


def _settle(case: Case, session: Session) -> Probe | None:
    """Find out what the endpoint speaks. Returns the answer that came nearest, if no answer could be read."""
    found = settle(case.candidates, session.probe)
    if not isinstance(found, Settled):
        return found
    session.settle(found.host, found.target)
    session.lines = found.lines
    if found.redirect is not None:
        session.seen["redirect"] = Seen.of(found.redirect)
    return None


def _remedies(probe: Probe, seen: Seen) -> list[Advice]:
    """What would help, but for longer timeouts: a longer wait of doctor's is not to be had."""
    if seen.completed or seen.left:
        return []
    found = remedies(probe, taken(probe))
    return [each if "[target.timeouts]" not in each.lines else Advice(_SILENT) for each in found]


def _evidence(case: Case, session: Session, reach: Reach, unread: Probe | None) -> Evidence:
    first = unread or session.first
    if unread is not None:
        session.seen["as_is"] = Seen.of(unread)
    advice = _remedies(first, session.seen["as_is"]) if first is not None else []
    if session.lines:
        advice.append(Advice(_READ_WITH, session.lines))
    blotted = first.secret.blotted if first is not None else str
    advice = [each._replace(says=blotted(each.says), lines=blotted(each.lines)) for each in advice]
    return Evidence(
        url=first.url if first is not None else case.url,
        protocol=first.protocol.name if first is not None else next(iter(PROTOCOLS)),
        reach=reach,
        seen=dict(session.seen),
        untried=dict(session.untried),
        figures=dict(session.figures),
        origin=case.origin,
        framing=first.protocol.framing if first is not None else "sse",
        headers=frozenset(session.site().own_headers),
        lines=session.lines,
        advice=tuple(advice),
        requests=session.requests,
        budget=case.budget,
        seconds=session.seconds,
        stopped=session.stopped,
    )
