"""One answer, as the checks look at it: plain values, without secrets. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from statistics import median

from streamgauge.harness.drive.protocols.protocol import line
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.probe.events import Taken, taken
from streamgauge.harness.probe.samples import Sample
from streamgauge.harness.record.held_back import COLLAPSED, FEWEST_CHUNKS, LATE, Pattern
from streamgauge.harness.record.observation import ABANDONED, Outcome, StreamObservation

_CLEARLY = 3.0  # times as long as answers that came at once
_EXCERPT = 120  # characters
_TIMEOUTS = {"total", "first token", "idle"}  # begin what a record says of an answer that took longer
_TOTAL = "total:"  # begins what a record says of an answer that took longer than all of it may
_LONGER = "the answer is longer than "  # begins what it says of one that has more bytes than we read
_CUT = ABANDONED | {Outcome.RESET, Outcome.TIMED_OUT}
_ENDED = {Outcome.EMPTY, Outcome.TRUNCATED, Outcome.MALFORMED}  # by the server, and not by an accident
_OF_APART = 0.25  # of the time between bursts: our lateness that cannot have made them


def _unchanged(text: str) -> str:
    return text


@dataclass(frozen=True)
class Seen:
    """Moments are ms since the question was due; None for what did not happen."""

    method: str
    url: str
    status: int | None  # None: no HTTP answer
    headers: Mapping[str, str]  # names in lower case; each value is one line
    body: bytes
    record: StreamObservation
    events: tuple[Taken, ...] = ()  # of an answer with a status of success
    ms: Mapping[str, float] = field(default_factory=dict)  # of the moments that are known
    complete: bool = True  # the HTTP message came to its end
    due: float = 0.0  # when it was asked, on the clock that all answers of one examination share, ms
    splits: tuple[float, ...] = ()  # of each event, ms from its first byte to its last
    blotted: Callable[[str], str] = _unchanged  # masks secrets in the server's text

    @classmethod
    def of(cls, probe: Probe, method: str = "") -> "Seen":
        record, events = probe.seen, tuple(taken(probe))
        names = ("resolved", "connected", "secured", "sent", "headers", "ended")
        moments = {name: getattr(record, f"{name}_at") for name in names}
        return cls(
            method or probe.site.request_format.method,
            probe.url,
            probe.status,
            probe.headers,
            probe.body,
            record,
            events,
            {name: ms for name, at in moments.items() if (ms := probe.ms(at)) is not None},
            probe.transcript.complete,
            probe.transcript.due_at / 1e6,
            _splits(probe, events),
            probe.secret.blotted,
        )

    @property
    def end(self) -> float | None:
        """When it ended, on the shared clock, ms."""
        return self.due + self.ms["ended"] if "ended" in self.ms else None

    @property
    def outcome(self) -> Outcome:
        return self.record.outcome

    @property
    def detail(self) -> str:
        """What the record says of its end, for who does not know the names of our timeouts."""
        said = self.record.detail
        name, _, words = said.partition(": ")
        return words if name in _TIMEOUTS else said

    @property
    def answered(self) -> bool:
        """Whether the server said yes."""
        return self.status is not None and self.status // 100 == 2

    @property
    def completed(self) -> bool:
        return self.outcome is Outcome.COMPLETED

    @property
    def left(self) -> bool:
        """Whether our side ended it while it went on, so that its end says nothing of the server or the path."""
        timed_out = self.outcome is Outcome.TIMED_OUT
        if timed_out and self.answered and not self.content:  # a model may think for longer than we wait
            return True
        too_late = timed_out and self.record.detail.startswith(_TOTAL)
        too_long = self.outcome is Outcome.MALFORMED and self.record.detail.startswith(_LONGER)
        return self.outcome in ABANDONED or ((too_late or too_long) and bool(self.content))

    @property
    def whole_body(self) -> bool:
        """Whether the server said yes and all of the body came, as far as one can tell."""
        cut = self.outcome in _CUT or self.record.detail.startswith(_LONGER)
        return self.answered and self.complete and not cut

    @property
    def reused(self) -> bool:
        """Whether it came on a connection that was there already."""
        return self._on_kept_connection and self.status is not None

    @property
    def dropped(self) -> bool:
        """Whether a connection that was there already was closed on the question, as clients know and ask again."""
        return self._on_kept_connection and self.status is None and self.outcome is Outcome.RESET

    @property
    def _on_kept_connection(self) -> bool:
        return self.record.started_at is not None and self.record.connected_at is None

    def header(self, name: str) -> str:
        """In lower case; "" if it is not there."""
        return self.headers.get(name, "").strip().lower()

    @property
    def kind(self) -> str:
        """The content type without its parameters."""
        return self.header("content-type").partition(";")[0].strip()

    @cached_property
    def content(self) -> list[Taken]:
        return [event for event in self.events if event.content and event.at is not None]

    @cached_property
    def moments(self) -> list[float]:
        """When each content event came, ms."""
        return [event.at for event in self.content if event.at is not None]

    @property
    def wait(self) -> float | None:
        """ms from the request's last byte to the first content."""
        sent = self.ms.get("sent")
        return self.moments[0] - sent if self.moments and sent is not None else None

    @property
    def whole(self) -> float | None:
        """ms from the request's last byte to the last content."""
        sent = self.ms.get("sent")
        return self.moments[-1] - sent if self.moments and sent is not None else None

    @property
    def silence(self) -> float:
        """ms from the last event, or else from the head, to the end; 0 if nothing is known."""
        moments = [event.at for event in self.events if event.at is not None]
        last = max(moments, default=self.ms.get("headers", 0.0))
        return max(0.0, self.ms.get("ended", last) - last)

    @property
    def gaps(self) -> list[float]:
        """ms between content events."""
        return [after - before for before, after in pairwise(self.moments)]

    @property
    def pace(self) -> float | None:
        """The median gap, ms."""
        return median(self.gaps) if self.gaps else None

    @cached_property
    def pattern(self) -> Pattern | None:
        """How its content arrived; None if too little of it came to say something about the path."""
        wait = self.wait
        enough = self.answered and len(self.content) >= FEWEST_CHUNKS
        return Pattern.of(wait, self.moments) if enough and wait is not None else None

    @property
    def lag(self) -> float:
        """How late our reads were at most, ms, if many were late enough to merge chunks; else 0."""
        merged = self.record.saturated_reads > LATE * max(1, self.record.reads)
        return (self.record.read_lag_max or 0) / 1e6 if merged else 0.0

    @property
    def late(self) -> bool:
        """Whether our own lateness may have brought its chunks together: a read that is late by so long merges as much.

        Chunks that came one by one did so however late we were.
        """
        if self.pattern is None or not self.held:
            return False
        whole, apart = float(self.pattern.whole[0]), float(self.pattern.apart[0])
        return self.lag > (COLLAPSED * whole if self.sudden else _OF_APART * apart)

    @property
    def judged(self) -> bool:
        """Whether the arrival of its content says something about the path: enough of it, and read in time."""
        return self.pattern is not None and not self.late

    @property
    def collapsed(self) -> bool:
        return self.pattern is not None and bool(self.pattern.collapsed[0])

    @property
    def coalesced(self) -> bool:
        return self.pattern is not None and bool(self.pattern.coalesced[0])

    @property
    def sudden(self) -> bool:
        return self.pattern is not None and bool(self.pattern.sudden[0])

    @property
    def span(self) -> float:
        """ms from the first content to the last."""
        return self.moments[-1] - self.moments[0] if self.moments else 0.0

    @property
    def held(self) -> bool:
        """Whether something may have gathered its chunks."""
        return self.sudden or self.coalesced

    def spread_beside(self, others: Iterable["Seen"]) -> bool:
        """Whether its chunks clearly came one by one, compared with these answers."""
        sudden = [seen.span for seen in others if seen.sudden]
        return not self.held and self.span >= _CLEARLY * max(sudden, default=0.0)

    @cached_property
    def instead(self) -> str:
        """What the server sent in place of a stream, in words; "": something that may be one."""
        if not self.answered or self.content:
            return ""
        if not self.body:
            return "nothing" if self.complete and self.outcome in _ENDED else ""
        sample = Sample(self.body, self.headers)
        if sample.markup:
            return "a web page"
        return "one JSON document" if isinstance(sample.document, dict | list) and not sample.lines else ""

    @property
    def words(self) -> str:
        """The beginning of the body as one printable line without secrets."""
        return line(self.blotted(self.body[: 4 * _EXCERPT].decode("utf-8", "replace")), _EXCERPT)


def _splits(probe: Probe, events: tuple[Taken, ...]) -> tuple[float, ...]:
    reads = probe.transcript.reads
    arrived = reads.arrived(probe.site.clock).tolist()
    found, place = [], 0
    for event in events if arrived else ():
        first, last = min(reads.completing(place + 1), len(arrived) - 1), min(event.read, len(arrived) - 1)
        found.append((arrived[last] - arrived[first]) / 1e6)
        place += event.size
    return tuple(found)
