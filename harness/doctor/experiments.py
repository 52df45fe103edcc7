"""What is asked, in this order: small questions, each by one experiment. A new one is one entry in `EXPERIMENTS`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Profile, Target, Timeouts
from streamgauge.harness.doctor import cancelling, counters
from streamgauge.harness.doctor.cancelling import Way
from streamgauge.harness.doctor.disturbance import of_both
from streamgauge.harness.doctor.evidence import ORIGIN
from streamgauge.harness.doctor.session import Person, Session
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.network import Network
from streamgauge.harness.drive.prompts import Prompt, handbook
from streamgauge.harness.drive.protocols import Answer, Malformed, Protocol
from streamgauge.harness.drive.protocols.event import Event
from streamgauge.harness.drive.reading.framing import decoded, decoder
from streamgauge.harness.drive.reading.resumption import sendable
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.observation import CONTENT, Outcome

BROWSER = "gzip, deflate, br"  # what a browser accepts, and so what a proxy may use
_LEAVES_AFTER = 5  # chunks
_SLOW_START = 5_000.0  # ms to the first content, from which no question is asked that the others answer, too
_LONG = 400  # tokens of the answer that is left in the middle
_AT_32_KBIT = Network("slow reader", Profile(down_kbit=32, rtt=100_000_000), "", None)  # type: ignore[arg-type]
_BEGINNING = 65_536  # bytes of a stream in which its id is looked for
_PATIENCE = 5.0  # s for a cancel to be answered, and then for the stream to end
_WITH_ITS_CANCEL = 2  # requests: an answer, and what cancels it
_BEFORE_SILENCE = 3  # tokens
_AFTER_SILENCE = 3.0  # s that the other stream goes on, to tell a limit of silence from one of the whole answer
_GRACE = 10.0  # s; our own timeouts are longer than any silence that is asked for


class Experiment(NamedTuple):
    asks: str  # what, for the documentation
    most: int  # requests
    run: Callable[[Session], object]
    beside: bool = False  # may be asked beside others: its times are not compared


def _ordinary(session: Session) -> None:
    """As a browser asks, and once more on the same connection."""
    with session.person(accept_encoding=_accepted(session.target)) as person:
        first = session.ask_in_time("as_is", person)
        if first is None or not first.answered:
            session.give_up("the first answer was not one to look at")
        elif first.outcome is Outcome.TIMED_OUT:
            session.give_up("the first answer took too long")
        session.ask_in_time("warm", person)


def _accepted(target: Target) -> str:
    """As the config says, or else as a browser says."""
    return next((value for name, value in target.headers.items() if name.lower() == "accept-encoding"), BROWSER)


def _identity(session: Session) -> None:
    first = session.seen.get("as_is")
    if first is not None and first.header("content-encoding") in {"", "identity"} and (first.wait or 0.0) > _SLOW_START:
        session.untried["identity"] = "the answer was not compressed anyway, and its first content took long"
        return
    with session.person(accept_encoding="identity") as person:
        session.ask_in_time("identity", person)


def _origin(session: Session) -> None:
    if session.origin is None:
        session.untried["origin"] = "--origin was not given"
        return
    person = session.lasting(session.origin, accept_encoding=_accepted(session.target))
    session.ask("origin", person)
    session.ask("origin_again", person)
    session.watch_idle("origin_idle", person)


def _heavy_beside_light(session: Session) -> None:
    """A long prompt beside a stream that has begun; then the same long prompt once more, alone.

    If the stream stood still meanwhile, both once more: with a long prompt that no cache has.
    """
    with session.person() as light, session.person() as heavy:
        _beside(session, (light, "light"), (heavy, "heavy"), _with_handbook(session))
        session.ask("heavy_again", heavy, _with_handbook(session))
        found = of_both(session.seen.get("light"), session.seen.get("heavy"))
        if found is not None and found.stood_still:
            new = session.prompt(system=f"Version {uuid4()}\n\n{handbook()}")
            _beside(session, (light, "light_again"), (heavy, "heavy_beside_it"), new)


def _beside(session: Session, first: tuple[Person, str], second: tuple[Person, str], prompt: Prompt) -> None:
    """The ordinary question of one person, and when its answer has begun, another's with this prompt."""

    def later() -> None:
        as_is, (person, name) = session.seen.get("as_is"), second
        session.wait(0.3 + (min(2_000.0, (as_is and as_is.wait) or 0) / 1e3))
        session.ask(name, person, prompt)

    session.together(lambda: session.ask(first[1], first[0]), later)


def _with_handbook(session: Session) -> Prompt:
    return session.prompt(system=handbook(), cached=True)


def _leave(session: Session) -> None:
    """Leave in the middle of a long answer, and look at the server's own counters before and after."""
    names = counters.look_before(session)
    if names is None:
        return
    with session.person(target=replace(session.target, max_tokens=_LONG)) as person:
        left = session.ask("leave", person, plan=Plan(leave_after_chunks=_LEAVES_AFTER))
    if left is not None:
        counters.look_after(session, names, left, _LONG)


def _cancel(session: Session) -> None:
    """Cancel a long answer by its id from another connection, and look whether it ends, and its generation."""
    site, reference = session.site(), bool(session.figures.get("reference"))
    path = site.request_format.path_for(session.prompt())
    way = session.cancel or cancelling.known(site.protocol.name, site.endpoint.base, path, reference=reference)
    if way is None:
        session.untried["cancel"] = (
            f"{site.protocol.name} has no cancel but to leave the stream. If the server has one, name it: "
            f"--cancel {cancelling.EXAMPLE}"
        )
        return
    names = counters.look_before(session, "cancel_")
    if session.requests + _WITH_ITS_CANCEL > session.budget:
        session.untried["cancel"] = (
            f"of the budget of {session.budget:,} requests too few were left to cancel an answer"
        )
        return
    with session.person(target=replace(session.target, max_tokens=_LONG)) as person:
        prompt = session.prompt(body=msgspec.json.encode(way.asking) if way.asking else b"")
        session.together(
            lambda: session.ask("cancel", person, prompt), lambda: _cancel_in_the_middle(session, person, way)
        )
        _leave_nothing_behind(session, person.site, way)
    cancelled = session.seen.get("cancel")
    if names is not None and "cancel_call" in session.seen and cancelled is not None and not cancelled.left:
        counters.look_after(session, names, cancelled, _LONG, "cancel_")


def _cancel_in_the_middle(session: Session, person: Person, way: Way) -> None:
    values = _named(session, person, way)
    if values is None:
        session.untried["cancel_call"] = "the stream was over before it could be cancelled"
    elif why_not := cancelling.why_not(way, values):
        session.untried["cancel_call"] = person.site.secret.blotted(why_not)
    else:
        session.send_within(_PATIENCE, "cancel_call", *_call(person.site, way, values))
        session.wait_for_end("cancel", _PATIENCE)
    session.end("cancel")


def _call(site: Site, way: Way, values: Mapping[str, str]) -> tuple[str, str, Mapping[str, str], bytes]:
    """Of the request that cancels: its method, path, headers and body."""
    path, body = way.filled(values)
    headers = {**_own_headers(site), "accept": "application/json"}
    if not body:  # some servers refuse a type without a body
        headers = {name: value for name, value in headers.items() if name != "content-type"} | {"content-length": "0"}
    return way.method, path, headers, body


def _leave_nothing_behind(session: Session, site: Site, way: Way) -> None:
    """Cancel an answer in the background that broke or was left before its cancel: it would go on without us."""
    left = session.seen.get("cancel")
    if not way.asking or left is None or left.completed or "cancel_call" in session.seen:
        return
    values = cancelling.named(way, _events(site.protocol, left.body), left.headers)
    if not cancelling.why_not(way, values):
        session.send_at_last(_PATIENCE, "cancel_at_last", *_call(site, way, values))


def _named(session: Session, person: Person, way: Way) -> dict[str, str] | None:
    """The answer's id, once some of its content has come; None if the answer is over before."""
    protocol = person.site.protocol
    while session.under_way("cancel") and not session.stopped:
        answer = person.client.so_far
        if answer is not None and answer.body:
            events = _events(protocol, answer.body)
            if _contents(events, protocol) >= _LEAVES_AFTER or len(answer.body) >= _BEGINNING:
                return cancelling.named(way, events, answer.headers)
        session.wait(0.02)
    return None


def _events(protocol: Protocol, body: bytes | bytearray) -> list[Event]:
    """Of the beginning of a body."""
    return list(decoded(decoder(protocol.framing), bytes(body[:_BEGINNING]), lambda: None))


def _contents(events: list[Event], protocol: Protocol) -> int:
    count, answer = 0, Answer()
    for event in events:
        with suppress(Malformed):
            count += protocol.meaning_of(event, answer).kind in CONTENT
    return count


def _slow_reader(session: Session) -> None:
    with session.person() as person:
        session.ask("slow_reader", person, road=_AT_32_KBIT)


def _whole(session: Session) -> None:
    with session.person() as person:
        session.ask("whole", person, session.prompt(streamed=False))


def _bad_request(session: Session) -> None:
    """A body that is no JSON."""
    site = session.site()
    if site.request_format.method == "GET":
        session.untried["bad_request"] = "the question is asked by GET, which has no body"
        return
    session.send("bad_request", site.request_format.method, _path(session, site), _own_headers(site), b"{")


def _preflight(session: Session) -> None:
    """What a browser asks before it lets a page of another origin ask: without any key."""
    site = session.site()
    asked = {"content-type", *(name for name in site.own_headers if name != "accept-encoding")}
    headers = {
        "origin": ORIGIN,
        "access-control-request-method": site.request_format.method,
        "access-control-request-headers": ", ".join(sorted(asked)),
    }
    session.send("preflight", "OPTIONS", _path(session, site), headers)


def _get(session: Session) -> None:
    site = session.site()
    if site.request_format.method == "GET":
        session.untried["get"] = "the question is asked by GET anyway"
        return
    headers = {name: value for name, value in _own_headers(site).items() if name != "content-type"}
    session.send("get", "GET", _path(session, site), {**headers, "accept": "text/event-stream"})


def _path(session: Session, site: Site) -> str:
    return f"{site.endpoint.base}{site.request_format.path_for(session.prompt())}"


def _own_headers(site: Site) -> dict[str, str]:
    """Of an ordinary question, but those that HTTP itself needs."""
    return {name: value for name, value in site.headers.items() if name not in {"host", "user-agent"}}


def _resume(session: Session) -> None:
    """Ask for the rest of an answer after an event in its middle, as a browser does after a broken connection."""
    before = session.seen.get("as_is")
    ids = list(_ids(before.body)) if before is not None else []
    if len(ids) < 2:
        session.untried["resume"] = "its events have no ids, so a broken answer cannot be resumed"
        return
    # Sent as it came: in a header of the config, an id such as `${HOME}` would be filled in from the environment.
    site, prompt = session.site(), session.prompt()
    headers = site.headers_for(prompt, ids[len(ids) // 2])
    form = site.request_format
    session.send("resume", form.method, _path(session, site), headers, form.encoded(prompt))


def _ids(body: bytes) -> Iterator[str]:
    """Those that are safe to send in a header."""
    last: str | None = None
    for event in decoded(decoder("sse"), body, lambda: None):
        if event.id and event.id != last and sendable(event.id):
            yield event.id
        last = event.id


def _error(session: Session) -> None:
    """An error inside the stream, which only the reference server makes on request."""
    if not session.figures.get("reference"):
        session.untried["error"] = "only the reference server makes one on request"
        return
    with session.person(x_gauge_fault="error@3", x_gauge_ttft="10ms") as person:
        session.ask("error", person)


def _slow(session: Session) -> None:
    """A stream that is silent after some tokens, and beside it one that sends a token a second."""
    if not session.slow:
        for name in ("silent", "ticking"):
            session.untried[name] = "--slow was not given"
        return
    if not session.figures.get("reference"):
        for name in ("silent", "ticking"):
            session.untried[name] = "only the reference server is silent on request: put it behind the same path"
        return
    timeout = Duration(int((session.slow + _GRACE) * 1e9))
    patient = Timeouts(first_token=timeout, idle=timeout, total=timeout)
    target = replace(session.target, timeouts=patient, max_tokens=int(session.slow) + 10)

    def silent() -> None:
        with session.person(target=target, x_gauge_fault=f"silence@{_BEFORE_SILENCE}") as person:
            session.ask("silent", person, plan=Plan(leave_after=int(session.slow * 1e9)))
        session.wait(_AFTER_SILENCE)
        session.end("ticking")

    def ticking() -> None:
        tokens = str(int(session.slow) + 10)
        with session.person(target=target, x_gauge_itl="1s", x_gauge_spread="0", x_gauge_tokens=tokens) as person:
            session.ask("ticking", person, plan=Plan(leave_after=int(session.slow * 1e9)))

    session.together(silent, ticking)


EXPERIMENTS: dict[str, Experiment] = {
    "ordinary": Experiment("the question as a browser asks it, twice on one connection", 2, _ordinary),
    "identity": Experiment("the same, with `Accept-Encoding: identity`", 1, _identity),
    "origin": Experiment("the same at `--origin`, twice", 2, _origin),
    "leave": Experiment(
        "a long answer that is left after five chunks, and the server's metrics page before and after", 6, _leave
    ),
    "cancel": Experiment(
        "a long answer that is cancelled by its id after five chunks, and the metrics page before and after", 7, _cancel
    ),
    "heavy": Experiment(
        "a long prompt beside a stream that has begun, then the long prompt again; the first two once more if the "
        "stream stood still",
        5,
        _heavy_beside_light,
    ),
    "slow_reader": Experiment("the same, read at 32 kbit/s", 1, _slow_reader, beside=True),
    "whole": Experiment("the same, with the answer in one piece", 1, _whole, beside=True),
    "bad_request": Experiment("a body that is no JSON", 1, _bad_request, beside=True),
    "preflight": Experiment("what a browser asks before a page of another origin may ask", 1, _preflight, beside=True),
    "get": Experiment("the path by GET", 1, _get, beside=True),
    "resume": Experiment(
        "the rest of an answer, with `Last-Event-ID`, if its events have ids", 1, _resume, beside=True
    ),
    "error": Experiment("an error inside the stream, of the reference server only", 1, _error, beside=True),
    "slow": Experiment("with `--slow`: a stream that falls silent, and one that sends a token a second", 2, _slow),
}
