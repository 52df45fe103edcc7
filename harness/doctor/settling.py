"""Finds out what an endpoint speaks before it is examined: by a question in each protocol, and at last by a guess."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

from streamgauge.harness.config.schema import Target
from streamgauge.harness.doctor.session import Spent
from streamgauge.harness.errors import ConfigError
from streamgauge.harness.probe import lines
from streamgauge.harness.probe.asking import Ask, Probe
from streamgauge.harness.probe.recognising import nearness, recognised
from streamgauge.harness.probe.trying import Result, Try

_ABSENT = {404, 405}
_FINAL = {401, 403, 429, 503}  # statuses that each further question would get, too
_BY_GET = '[target.request]\nmethod = "GET"\nquery = { q = "{prompt}" }\n'
_GUESS = re.compile('^protocol = "custom"$', re.MULTILINE)


class Settled(NamedTuple):
    """Where and how to ask."""

    host: str
    target: Target
    lines: str = ""  # of the config, which nobody gave, and without which the answer could not be read
    redirect: Probe | None = None  # the answer that led there


def settle(candidates: Sequence[tuple[str, Target]], put: Ask) -> Settled | Probe | None:
    """What works; otherwise the answer that came nearest, or None if nothing could be asked."""
    nearest: Try | None = None
    with suppress(Spent):
        for found in _asked(candidates, put):
            if found.working is not None:
                return _settled(found, found.working)
            if nearest is None or nearness(found.first) > nearness(nearest):
                nearest = found.first
        if nearest is not None and nearest.probe.status in _ABSENT:
            by_get = _by_get(candidates[0], put)
            if by_get is not None:
                return by_get
    if nearest is None:
        return None
    probe = nearest.probe
    if probe.seen.content_chunks and not probe.stopped:  # it is understood, and does not come to its end
        return Settled(probe.host, probe.target)
    return _guessed(nearest) or probe


def _asked(candidates: Sequence[tuple[str, Target]], put: Ask) -> Iterator[Result]:
    """What came, host by host, until an answer says that further questions are in vain."""
    for host, group in groupby(candidates, lambda candidate: candidate[0]):
        found = recognised(host, [target for _, target in group], put)
        yield found
        probe = found.first.probe
        if probe.stopped or probe.status is None or _said_yes(probe) or probe.status in _FINAL:
            return


def _said_yes(probe: Probe) -> bool:
    return probe.status is not None and probe.status // 100 == 2


def _settled(found: Result, working: Try, before: str = "") -> Settled:
    """`before`: lines that the target of the first question had already."""
    first = found.first.probe
    added = lines.joined(before, working.lines) if before and working.lines else before or working.lines
    redirect = first if first.status is not None and first.status // 100 == 3 else None
    return Settled(working.probe.host, working.probe.target, added, redirect)


def _by_get(candidate: tuple[str, Target], put: Ask) -> Settled | None:
    """The question in the URL, as an EventSource asks; None if that brings no stream either."""
    host, target = candidate
    found = recognised(host, [lines.applied(target, _BY_GET)], put)
    if found.working is not None:
        return _settled(found, found.working, _BY_GET)
    return _guessed(found.first, _BY_GET)


def _guessed(made: Try, before: str = "") -> Settled | None:
    """How to read the answer by a guess from it alone, which is enough to see how it arrives. None without one."""
    for advice in made.advice if _said_yes(made.probe) else ():
        if _GUESS.search(advice.lines):
            with suppress(ConfigError):
                target = lines.applied(made.probe.target, advice.lines)
                added = lines.joined(before, advice.lines) if before else advice.lines
                return Settled(made.probe.host, target, added)
    return None
