"""Streams that were refused as too many: by a limit of the load, or by something else with the same status."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamgauge.harness.judge.figures import between, figure
from streamgauge.harness.judge.measure import statistics
from streamgauge.harness.judge.measure.arrays import Floats
from streamgauge.harness.judge.verdict.findings.by_load import AtTimes, Fixed, Grows, Share, pattern
from streamgauge.harness.judge.verdict.findings.chance import surely
from streamgauge.harness.judge.verdict.findings.evidence import Evidence, Sample
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number

_FEWEST = 3
_SHARE = 0.001  # of the streams, at the lower end of the interval
_OTHERS = "all latencies are those of the streams that were answered"


class _Cause(NamedTuple):
    """What is said of it: `advice`, `meaning` and `change` of a Finding."""

    advice: str
    meaning: str
    change: str


@dataclass(frozen=True)
class _Waits:
    """What the refusals said of coming back, and when users did: medians in ms; None if nothing is known."""

    asked: float | None
    share: float  # of the refusals, that said it
    taken: float | None

    @property
    def told(self) -> str:
        """After the sentence; "" for a run of a version that did not record it."""
        taken = f"the users asked again after {figure(self.taken, 'ms')}"
        if self.asked is None:  # users' own waits are recorded since the server's are
            return "" if self.taken is None else f"; none said when to come back (retry-after), and {taken}"
        some = "" if self.share == 1 else f" in {figure(self.share, 'ratio')} of them"
        asked = f"; the server asked to wait {figure(self.asked, 'ms')}{some}"
        return asked if self.taken is None else f"{asked}, and {taken}"

    @property
    def numbers(self) -> Iterator[Number]:
        if self.asked is not None:
            yield Number("asked to wait, median", self.asked, "ms")
            yield Number("refusals that said how long", self.share, "ratio")
        if self.taken is not None:
            yield Number("asked again after, median", self.taken, "ms")


@dataclass(frozen=True)
class _Refused:
    hits: int
    of: int
    by_load: Grows | Fixed | AtTimes | None
    waits: _Waits

    @property
    def told(self) -> str:
        """How it depends on the load, after a colon."""
        match self.by_load:
            case Grows(unit, begins, below, above):
                fewer = f"{figure(below, 'ratio')} of those that met fewer than {begins:,} streams {unit}"
                return f"{fewer}, {figure(above, 'ratio')} of the others"
            case Fixed(unit, middle, below, above):
                return f"{_doubt(below)} with fewer than {middle:,} streams {unit}, {_doubt(above)} with more"
            case AtTimes(since, until):
                return f"all between {since:,.0f} s and {until:,.0f} s of the run"
            case None:
                return "whether more load refuses more is not known"

    @property
    def numbers(self) -> tuple[Number, ...]:
        match self.by_load:
            case Grows(unit, begins, below, above):
                return (
                    Number(f"streams {unit} from which on far more are refused", begins, ""),
                    Number("refused below", below, "ratio"),
                    Number("refused from there on", above, "ratio"),
                )
            case Fixed(unit, middle, below, above):
                return (
                    Number(f"refused with fewer than {middle:,} streams {unit}", below.value, "ratio"),
                    Number("refused with as many or more", above.value, "ratio"),
                )
            case AtTimes(since, until):
                return Number("the first of them at", since, "s"), Number("the last at", until, "s")
            case None:
                return ()

    @property
    def certainty(self) -> Certainty:
        match self.by_load:
            case Grows(is_sharp=True):
                return Certainty.SURE
            case Grows() | Fixed() | AtTimes():
                return Certainty.LIKELY
            case None:
                return Certainty.POSSIBLE


def _doubt(share: Share) -> str:
    """`16.9 % (12.9–21.5 at 95 %)`."""
    interval = statistics.ratio_interval(share.hits, share.of)
    return f"{figure(share.value, 'ratio')} ({between(interval, 'ratio')} at 95 %)"


def rate_limited(evidence: Evidence) -> Finding | None:
    """HTTP 429 for at least 3 streams, and surely for one in a thousand (exact interval); its cause is by `pattern`."""
    refused = _refused(evidence, 429)
    if refused is None:
        return None
    match refused.by_load:
        case Grows(unit, begins):
            cause = _Cause(
                f"A limit refuses streams from about {begins:,} {unit} on: raise it, or send fewer",
                f"The refused streams met a limit of the account or the gateway; {_OTHERS}",
                "Raise the limit, or ask for less: fewer --users or a lower rate. `streamgauge doctor` says whether a "
                "refusal tells clients when to come back (retry-after)",
            )
        case Fixed():
            cause = _Cause(
                "HTTP 429 refuses a like share under any load: look for a quota, a key, or an injected fault",
                "A limit of the rate or of the streams at once would refuse more under more load. The same share is a "
                f"quota that others use, too, a limit of single keys, or an injected fault; {_OTHERS}",
                "Fewer --users would not help: compare refused with answered streams by their key "
                "([target.credentials] of streamgauge.toml), and look at the account’s quota and the gateway’s rules",
            )
        case AtTimes(since):
            cause = _Cause(
                f"HTTP 429 refuses for some time only, from {since:,.0f} s on: look for a quota that was used up then",
                f"Not the load of this test decides which streams are refused, but when they come; {_OTHERS}",
                "Look at the account’s quota and at the gateway’s log of that time: a quota by the minute or hour, a "
                "changed rule, or other users of the account",
            )
        case None:
            cause = _Cause(
                "HTTP 429 refuses streams: run it with half the users, to see whether a limit of the load is the cause",
                "A limit of the load, a used-up quota or an injected fault: the load hardly varied, or too few streams "
                f"were refused, to tell them apart; {_OTHERS}",
                "`streamgauge run` with half the --users. The same share again: a quota or a fault. A smaller one: "
                "raise the limit, or ask for less",
            )
    return _finding("rate_limited", refused, "HTTP 429", cause, "https://www.rfc-editor.org/rfc/rfc6585#section-4")


def overloaded(evidence: Evidence) -> Finding | None:
    """As `rate_limited`, for HTTP 503 and 529."""
    refused = _refused(evidence, 503, 529)
    if refused is None:
        return None
    match refused.by_load:
        case Grows(unit, begins):
            cause = _Cause(
                f"The server refuses streams from about {begins:,} {unit} on: add replicas, or send fewer",
                "The server sheds load: the figures are those of the streams that it admitted",
                "Add replicas or let more requests wait, send retry-after, and let clients retry with a growing pause",
            )
        case Fixed():
            cause = _Cause(
                "The server refuses a like share under any load: look for a replica that is down, or an injected fault",
                f"An overloaded server would refuse more under more load; {_OTHERS}",
                "Ask the balancer which replicas are healthy, and compare refused with answered streams by address and "
                "by `target.replica_header`",
            )
        case AtTimes(since):
            cause = _Cause(
                f"The server refuses streams for some time only, from {since:,.0f} s on: read its log of that time",
                f"Not the load of this test decides which streams are refused, but when they come; {_OTHERS}",
                "Look for a restart, a replica that went down or a deployment at that time, and for other work of the "
                "server",
            )
        case None:
            cause = _Cause(
                "The server refuses streams: run it with half the users, to see whether the load is the cause",
                "An overloaded server, or a part of it that is down: the load hardly varied, or too few streams were "
                f"refused, to tell them apart; {_OTHERS}",
                "`streamgauge run` with half the --users. A smaller share: add replicas or let more requests wait. The "
                "same share again: look for a replica that is down",
            )
    source = "https://www.rfc-editor.org/rfc/rfc9110#name-503-service-unavailable"
    return _finding("overloaded", refused, "HTTP 503 or 529", cause, source)


def _finding(name: str, refused: _Refused, status: str, cause: _Cause, source: str) -> Finding:
    counted = Number(f"streams with {status}", refused.hits, ""), Number("all streams", refused.of, "")
    told = f"{refused.told}{refused.waits.told}"
    return Finding(
        id=name,
        advice=cause.advice,
        sentence=f"{refused.hits:,} of {refused.of:,} streams were refused with {status}: {told}",
        evidence=(*counted, *refused.numbers, *refused.waits.numbers),
        meaning=cause.meaning,
        change=cause.change,
        source=source,
        certainty=refused.certainty,
    )


def _refused(evidence: Evidence, *statuses: int) -> _Refused | None:
    hits = sum(failure.n for failure in evidence.failures if failure.http_status in statuses)
    n = evidence.totals.ended
    if not _FEWEST <= hits <= n or (surely(hits, n).low or 0.0) <= _SHARE:
        return None
    return _Refused(hits, n, pattern(evidence, statuses), _waits(evidence.sample, statuses))


def _waits(sample: Sample, statuses: Sequence[int]) -> _Waits:
    """The users' waits are those after any refusal."""
    refused = np.isin(sample.http_status, statuses)
    asked, taken = sample.retry_after[refused], sample.after_refusal
    known = ~np.isnan(asked)
    return _Waits(_median_ms(asked), float(known.mean()) if len(asked) else 0.0, _median_ms(taken))


def _median_ms(seconds: Floats) -> float | None:
    known = seconds[~np.isnan(seconds)]
    return float(np.median(known)) * 1e3 if len(known) else None
