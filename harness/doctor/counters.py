"""The server's own counts of what it generates, read while an answer is stopped: does it stop, too?

What is counted is kept in the session's figures, by `of`, which says of which experiment it is, and by the moment.
"""

from urllib.parse import urlsplit

from streamgauge.harness.doctor.evidence import BETWEEN_LOOKS, TO_FIRST_LOOK
from streamgauge.harness.doctor.seen import Seen
from streamgauge.harness.doctor.session import Session
from streamgauge.harness.drive.server_metrics import total

_LONGEST_REST = 10.0  # s that the rest of an answer that goes on may take
_QUIET = 2.0  # s between two looks while nothing is asked
_ROOM = 1.25  # for a server that is slower than it was
# The gauge of answers that are being generated, and the counter of generated tokens, by server.
METRICS = (
    ("reference_streams_active", "reference_tokens_generated_total"),
    ("vllm:num_requests_running", "vllm:generation_tokens_total"),
    ("sglang:num_running_reqs", "sglang:generation_tokens_total"),
    ("llamacpp:requests_processing", "llamacpp:tokens_predicted_total"),
)
_ELSEWHERE = "the metrics page is on another host, which doctor does not ask"

Names = tuple[str, str]


def look_before(session: Session, of: str = "") -> Names | None:
    """The names of the server's gauge and counter, with a first look at them; None without a page that has them."""
    metrics = session.target.metrics
    pairs = METRICS if metrics is None else ((metrics.active, metrics.generated),)
    page = _page(session, f"{of}before")
    for names in pairs:
        if total(page, names[0]) is not None and total(page, names[1]) is not None:
            _keep(session, page, names, f"{of}before")
            session.figures["reference"] = float(names[0].startswith("reference_"))
            return names
    return None


def look_after(session: Session, names: Names, stopped: Seen, most: int, of: str = "") -> None:
    """Two looks after an answer of at most so many tokens was stopped; two more if the server seems to go on."""
    session.wait(TO_FIRST_LOOK)
    _look(session, names, f"{of}soon")
    session.wait(BETWEEN_LOOKS)
    _look(session, names, f"{of}late")
    if _goes_on(session, of):
        rest = max(0, most - len(stopped.content)) * (stopped.pace or _LONGEST_REST * 1e3) / 1e3
        session.wait(min(_LONGEST_REST, _ROOM * rest))
        # Is the server idle while we ask nothing? If not, it works for others, and its counters tell nothing.
        _look(session, names, f"{of}quiet")
        session.wait(_QUIET)
        _look(session, names, f"{of}control")


def _goes_on(session: Session, of: str) -> bool:
    """Whether the server still generates, for us or for somebody else."""
    figures = session.figures
    grew = figures.get(f"generated_{of}late", 0) > figures.get(f"generated_{of}soon", 0)
    return figures.get(f"active_{of}before") == 0 and (grew or figures.get(f"active_{of}late", 0) > 0)


def _look(session: Session, names: Names, when: str) -> None:
    _keep(session, _page(session, when), names, when)


def _keep(session: Session, page: bytes, names: Names, when: str) -> None:
    for what, name in zip(("active", "generated"), names, strict=True):
        value = total(page, name)
        if value is not None:
            session.figures[f"{what}_{when}"] = value


def _page(session: Session, when: str) -> bytes:
    """The metrics page, asked for without the target's headers: they may hold its key."""
    metrics = session.target.metrics
    url = urlsplit(metrics.url if metrics else "/metrics")
    if url.netloc:
        session.untried[f"metrics_{when}"] = _ELSEWHERE
        return b""
    path = f"{url.path}?{url.query}" if url.query else url.path
    seen = session.send(f"metrics_{when}", "GET", path, {"accept": "text/plain;version=0.0.4"})
    return seen.body if seen is not None and seen.whole_body else b""  # half a page may hold half a number
