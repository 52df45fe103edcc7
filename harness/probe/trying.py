"""Asks one question and, if that fails, once or twice more with the lines that should help: three requests at most."""

from dataclasses import dataclass, field, replace

import msgspec

from streamgauge.harness.config.schema import Target
from streamgauge.harness.drive.protocols import for_target
from streamgauge.harness.drive.reading.transcript import observe
from streamgauge.harness.drive.site import Site
from streamgauge.harness.errors import StreamgaugeError
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Ask, Probe, ask
from streamgauge.harness.probe.events import Taken, taken
from streamgauge.harness.probe.remedies import remedies
from streamgauge.harness.record.observation import Outcome

QUESTION = "Name three rivers, with one sentence on each."
_MOST = 3  # requests


@dataclass(frozen=True, slots=True)
class Try:
    probe: Probe
    events: list[Taken]
    advice: list[Advice]
    lines: str = ""  # that this try had in addition to the config

    @classmethod
    def of(cls, probe: Probe, added: str = "") -> "Try":
        events = taken(probe)
        return cls(probe, events, remedies(probe, events), added)

    @property
    def completed(self) -> bool:
        """Also that the answer was not read as what it is not."""
        return self.probe.seen.outcome is Outcome.COMPLETED and not _likely(self)


@dataclass(frozen=True, slots=True)
class Result:
    first: Try  # with the config as it is
    again: list[Try] = field(default_factory=list)
    # The last of them completed, but would also have done so without its lines: the server's answers
    # differ from one time to the next.
    wavering: bool = False

    @property
    def helped(self) -> Try | None:
        """The try whose lines made the answer complete."""
        return self.again[-1] if self.again and self.again[-1].completed and not self.wavering else None

    @property
    def working(self) -> Try | None:
        return self.first if self.first.completed else self.helped


def try_out(host: str, target: Target, client: str, text: str) -> Result:
    """Ask with the config and, if that fails, with the likely advice."""
    return go_on(Try.of(ask(host, target, client, text)))


def go_on(first: Try, put: Ask = ask) -> Result:
    """After this try ask with the likely advice, if it needs any."""
    host, target, client = first.probe.host, first.probe.target, first.probe.client
    text = first.probe.prompt.messages[-1][1]
    again: list[Try] = []
    waiting = _likely(first)
    while waiting and not (again and again[-1].completed) and len(again) + 1 < _MOST and not first.completed:
        added = waiting.pop(0)
        try:
            new = Try.of(put(host, lines.applied(target, added), client, text), added)
        except StreamgaugeError:  # the lines do not suit the client, or another line of the config
            continue
        again.append(new)
        if new.probe.stopped:
            break
        if _further(first.probe, new.probe):  # go on from there
            waiting = [lines.joined(added, more) for more in _likely(new)] + waiting
    return Result(first, again, wavering=bool(again) and again[-1].completed and _needless(target, again[-1]))


def _likely(made: Try) -> list[str]:
    return [advice.lines for advice in made.advice if advice.lines and advice.likely]


def _further(before: Probe, after: Probe) -> bool:
    """Whether the second got another answer than the first, and not only another refusal of the same kind."""
    other = after.status != before.status or after.seen.outcome is not before.seen.outcome
    return other or (after.status == 200 and after.seen.stop_reason != before.seen.stop_reason)


def _needless(target: Target, made: Try) -> bool:
    """Whether the answer would have been complete without the lines, which only said how an answer ends."""
    changes = msgspec.toml.decode(made.lines)["target"]
    if set(changes) != {"end"}:
        return False
    probe = made.probe
    site: Site = replace(probe.site, target=target, protocol=for_target(target))
    identity = {name: getattr(probe.seen, name) for name in ("scenario", "user", "protocol", "client", "network")}
    seen = observe(probe.transcript, site, {**identity, "behaviour": probe.seen.behaviour})
    return seen.outcome is Outcome.COMPLETED
