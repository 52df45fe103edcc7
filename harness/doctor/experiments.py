"""What is asked, in this order: small questions, each by one experiment. A new one is one entry in `EXPERIMENTS`."""

from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from streamgauge.harness.config.duration import Duration
from streamgauge.harness.config.schema import Profile, Target, Timeouts
from streamgauge.harness.doctor.evidence import ORIGIN
from streamgauge.harness.doctor.session import Session
from streamgauge.harness.drive.behaviour import Plan
from streamgauge.harness.drive.network import Network
from streamgauge.harness.drive.prompts import Prompt, handbook
from streamgauge.harness.drive.reading.framing import decoded, decoder
from streamgauge.harness.drive.reading.resumption import sendable
from streamgauge.harness.drive.server_metrics import total
from streamgauge.harness.drive.site import Site
from streamgauge.harness.record.observation import Outcome

BROWSER = "gzip, deflate, br"  # what a browser accepts, and so what a proxy may use
_LEAVES_AFTER = 5  # chunks
_LONG = 400  # tokens of the answer that is left in the middle
_AT_32_KBIT = Network("slow reader", Profile(down_kbit=32, rtt=100_000_000), "", None)  # type: ignore[arg-type]
_POLLS = 4  # of the metrics page, until an answer that goes on may be over
_BEFORE_SILENCE = 3  # tokens
_AFTER_SILENCE = 3.0  # s that the other stream goes on, to tell a limit of silence from one of the whole answer
_GRACE = 10.0  # s; our own timeouts are longer than any silence that is asked for
# The gauge of answers that are being generated, and the counter of generated tokens, by server.
METRICS = (
    ("reference_streams_active", "reference_tokens_generated_total"),
    ("vllm:num_requests_running", "vllm:generation_tokens_total"),
    ("sglang:num_running_reqs", "sglang:generation_tokens_total"),
    ("llamacpp:requests_processing", "llamacpp:tokens_predicted_total"),
)


class Experiment(NamedTuple):
    asks: str  # what, for the documentation
    most: int  # requests
    run: Callable[[Session], object]


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
    """A long prompt beside a stream that has begun; then the same long prompt once more, alone."""
    with session.person() as light, session.person() as heavy:

        def later() -> None:
            first = session.seen.get("as_is")
            session.wait(0.3 + (min(2_000.0, (first and first.wait) or 0) / 1e3))
            session.ask("heavy", heavy, _with_handbook(session))

        session.together(lambda: session.ask("light", light), later)
        session.ask("heavy_again", heavy, _with_handbook(session))


def _with_handbook(session: Session) -> Prompt:
    return session.prompt(system=handbook(), cached=True)


def _leave(session: Session) -> None:
    """Leave in the middle of a long answer, and look at the server's own counters before and after."""
    names = _counters(session)
    if names is None:
        session.untried["leave"] = "the server shows no counters that are known: [target.metrics] names others"
        return
    with session.person(target=replace(session.target, max_tokens=_LONG)) as person:
        left = session.ask("leave", person, plan=Plan(leave_after_chunks=_LEAVES_AFTER))
    if left is None:
        return
    session.wait(1.0)
    _count(session, names, "soon")
    session.wait(1.5)
    _count(session, names, "late")
    if _goes_on(session):
        _control(session, names)


def _goes_on(session: Session) -> bool:
    """Whether the server still generates, for us or for somebody else."""
    figures = session.figures
    grew = figures.get("generated_late", 0) > figures.get("generated_soon", 0)
    return figures.get("active_before") == 0 and (grew or figures.get("active_late", 0) > 0)


def _control(session: Session, names: tuple[str, str]) -> None:
    """Whether the server is idle while we ask nothing: if not, it works for others, and its counters tell nothing."""
    for _ in range(_POLLS):
        session.wait(2.5)
        _count(session, names, "quiet")
        if session.figures.get("active_quiet") == 0:
            break
    session.wait(2.0)
    _count(session, names, "control")


def _counters(session: Session) -> tuple[str, str] | None:
    """The names of the server's gauge and counter; None without a page that has them."""
    metrics = session.target.metrics
    pairs = METRICS if metrics is None else ((metrics.active, metrics.generated),)
    page = _page(session, "before")
    for names in pairs:
        if total(page, names[0]) is not None and total(page, names[1]) is not None:
            _keep(session, page, names, "before")
            session.figures["reference"] = float(names[0].startswith("reference_"))
            return names
    return None


def _count(session: Session, names: tuple[str, str], when: str) -> None:
    _keep(session, _page(session, when), names, when)


def _keep(session: Session, page: bytes, names: tuple[str, str], when: str) -> None:
    for what, name in zip(("active", "generated"), names, strict=True):
        value = total(page, name)
        if value is not None:
            session.figures[f"{what}_{when}"] = value


def _page(session: Session, when: str) -> bytes:
    """The metrics page, asked for without the target's headers: they may hold its key."""
    metrics = session.target.metrics
    url = urlsplit(metrics.url if metrics else "/metrics")
    if url.netloc:
        return b""  # another host: not ours to ask
    path = f"{url.path}?{url.query}" if url.query else url.path
    seen = session.send(f"metrics_{when}", "GET", path, {"accept": "text/plain;version=0.0.4"})
    return seen.body if seen is not None and seen.answered else b""


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
    with session.person(x_gauge_fault="error@3") as person:
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
        "a long answer that is left after five chunks, and the server's metrics page before and after", 9, _leave
    ),
    "heavy": Experiment(
        "a long prompt beside a stream that has begun, then the long prompt again", 3, _heavy_beside_light
    ),
    "slow_reader": Experiment("the same, read at 32 kbit/s", 1, _slow_reader),
    "whole": Experiment("the same, with the answer in one piece", 1, _whole),
    "bad_request": Experiment("a body that is no JSON", 1, _bad_request),
    "preflight": Experiment("what a browser asks before a page of another origin may ask", 1, _preflight),
    "get": Experiment("the path by GET", 1, _get),
    "resume": Experiment("the rest of an answer, with `Last-Event-ID`, if its events have ids", 1, _resume),
    "slow": Experiment("with `--slow`: a stream that falls silent, and one that sends a token a second", 2, _slow),
    "error": Experiment("an error inside the stream, of the reference server only", 1, _error),
}
