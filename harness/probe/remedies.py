"""What would help, whatever came of the question. Pure."""

from collections.abc import Iterator

from streamgauge.harness.probe.advice import Advice
from streamgauge.harness.probe.asking import Probe
from streamgauge.harness.probe.complete import unsaid
from streamgauge.harness.probe.events import Taken
from streamgauge.harness.probe.refusals import of_refusal
from streamgauge.harness.probe.unconnected import of_silence
from streamgauge.harness.probe.unread import in_one_piece, late, misread, unread
from streamgauge.harness.record.observation import Outcome

_MOST = 4  # pieces of advice: what comes later is less likely


def remedies(probe: Probe, events: list[Taken]) -> list[Advice]:
    """What would help, the most likely first; [] if the answer is complete and nothing is odd about it."""
    if probe.stopped:
        return []
    found: dict[str, Advice] = {}
    for advice in _all(probe, events):
        found.setdefault(advice.lines or advice.says, advice)
    return list(found.values())[:_MOST]


def _all(probe: Probe, events: list[Taken]) -> Iterator[Advice]:
    if probe.status is None:
        yield from of_silence(probe)
        yield from late(probe, events)
    elif probe.status // 100 != 2:
        yield from of_refusal(probe)
    else:
        if probe.seen.outcome is not Outcome.COMPLETED:
            yield from unread(probe, events)
        else:
            yield from misread(probe)
            yield from unsaid(probe, events)
        yield from in_one_piece(probe, events)
