"""Two answers at the same time: whether the one that had begun stood still while the other's question began. Pure."""

from typing import NamedTuple

from streamgauge.harness.doctor.seen import Seen

AT_ONCE = 50.0  # ms after one answer's end, in which another begins if it had waited for it
_STALL = 250.0  # ms; a person notices it
_FEWEST = 10  # gaps that tell how steady an answer is


class Gaps(NamedTuple):
    """The longest ones of the answer that had begun, ms."""

    beginning: float  # while the other question began
    otherwise: float
    stood_still: bool


def overlapping(light: Seen | None, heavy: Seen | None) -> tuple[Seen, Seen] | None:
    """Both, if the second question came before the end of the first one's answer; otherwise None."""
    if light is None or heavy is None or not light.moments or not heavy.answered:
        return None
    return (light, heavy) if heavy.due < light.due + light.moments[-1] else None


def gaps(light: Seen, heavy: Seen) -> Gaps | None:
    """Of two that overlap. None if the first answer cannot tell: it has few events, or something held them back."""
    if len(light.gaps) < _FEWEST or light.held:
        return None
    begins, until = heavy.due, heavy.due + (heavy.moments[0] if heavy.moments else heavy.ms.get("ended", 0.0))
    inside, outside = [0.0], [0.0]
    for at, gap in zip(light.moments[1:], light.gaps, strict=True):
        overlaps = light.due + at > begins and light.due + at - gap < until + AT_ONCE
        (inside if overlaps else outside).append(gap)
    longest, otherwise = max(inside), max(outside)
    return Gaps(longest, otherwise, longest >= max(_STALL, 5 * (light.pace or 0.0), 2 * otherwise))


def of_both(light: Seen | None, heavy: Seen | None) -> Gaps | None:
    """Of any two; None if they cannot tell."""
    both = overlapping(light, heavy)
    return None if both is None else gaps(*both)
