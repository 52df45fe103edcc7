"""Two kinds of streams: some wait long for the first content and some do not, with few in between."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streamgauge.harness.judge.measure.arrays import Floats, Mask
from streamgauge.harness.judge.store import Texts
from streamgauge.harness.judge.verdict.findings.chance import ALPHA, at_least, divided, more_often
from streamgauge.harness.judge.verdict.findings.evidence import Evidence
from streamgauge.harness.judge.verdict.findings.finding import Certainty, Finding, Number, quoted

_FEWEST = 20  # streams of each kind
_SMALLEST = 0.05  # share of the streams
_TIMES, _APART_MS = 2.0, 100.0  # between the medians of both kinds
_VALLEY = 1 / 3  # of the streams near the rarer kind's median, in a window of the same width between both
_SEPARATES = 0.6  # Youden's J: 1 if the value divides both kinds without an error, 0 if it says nothing
_MOST_VALUES = 50  # of a key: a label that is different for each stream divides nothing
_SOURCE = "https://github.com/BerriAI/litellm/issues/38689"


@dataclass(frozen=True)
class _Kinds:
    slow: Mask  # among the streams whose wait is known
    fast_ms: float  # medians
    slow_ms: float


@dataclass(frozen=True)
class _Separator:
    key: str  # "label model", "open streams", …
    value: str  # what the slow ones have; "" for a number
    youden: float
    in_slow: float  # share of the slow streams with it
    in_fast: float
    has_own_finding: bool


def two_kinds(evidence: Evidence) -> Finding | None:
    """The waits for the first content are of two kinds, at least 2 times and 100 ms apart, with little in between.

    The logarithms are divided into the two groups of the least variance (Fisher 1958). Between their medians a single
    kind would be at least as dense as at the thinner of both. The finding needs a third of that density at most, in
    windows of equal width, and a binomial chance below ALPHA; each kind has at least 20 streams and 5 %. Every user
    class, network, label, worker, server and number is then asked whether it divides the kinds (Youden's J ≥ 0.6,
    Fisher's exact test). If load, new connections, the prompt cache, a worker or a server
    does, that is a finding of its own.
    """
    sample = evidence.sample
    known = ~np.isnan(sample.wait) & (sample.wait > 0)
    kinds = _kinds(sample.wait[known])
    if kinds is None:
        return None
    best = max(_separators(evidence, known, kinds.slow), key=lambda each: each.youden, default=None)
    if best is not None and best.has_own_finding:
        return None
    numbers: tuple[Number, ...] = (
        Number("median of the fast kind", kinds.fast_ms, "ms"),
        Number("median of the slow kind", kinds.slow_ms, "ms"),
        Number("streams of the slow kind", int(kinds.slow.sum()), ""),
        Number("all streams", len(kinds.slow), ""),
    )
    if best is None:
        change = "Compare a slow stream with a fast one in the server’s log, by request id: another route, a retry?"
        advice = "Two kinds of streams are mixed: compare a slow one with a fast one in the server’s log"
        return _finding(numbers, advice, "nothing that was recorded tells which", change, Certainty.LIKELY)
    what = f"{best.key} {quoted(best.value)}" if best.value else f"the slow kind’s side of the {best.key}"
    numbers = (
        *numbers,
        Number(f"{what} among the slow", best.in_slow, "ratio"),
        Number(f"{what} among the fast", best.in_fast, "ratio"),
    )
    who = f"{best.key} {quoted(best.value)} tells which" if best.value else f"they differ in the {best.key}"
    change = f"Judge both apart (a rule with `where`), and look at what the server does otherwise for {best.key}"
    advice = f"Two kinds of streams are mixed: judge them apart by {best.key}"
    return _finding(numbers, advice, who, change, Certainty.SURE if best.youden > 0.9 else Certainty.LIKELY)


def _finding(numbers: tuple[Number, ...], advice: str, who: str, change: str, certainty: Certainty) -> Finding:
    return Finding(
        id="two_kinds",
        advice=advice,
        sentence=f"There are two kinds of streams, and one waits {numbers[1].value / numbers[0].value:.1f} times as "
        f"long for the first content as the other: {who}",
        evidence=numbers,
        meaning="A single percentile describes neither kind, and moves when the mix does",
        change=change,
        source=_SOURCE,
        certainty=certainty,
    )


def _kinds(wait: Floats) -> _Kinds | None:
    n = len(wait)
    if n < 2 * _FEWEST:
        return None
    order = np.argsort(wait, kind="stable")
    logs = np.log(wait[order])
    least = max(_FEWEST, int(np.ceil(_SMALLEST * n)))
    cut = _best_cut(logs, least)
    if cut is None:
        return None
    low, high = float(np.median(logs[:cut])), float(np.median(logs[cut:]))
    if np.exp(high - low) < _TIMES or np.exp(high) - np.exp(low) < _APART_MS:
        return None
    third = (high - low) / 3
    between = _within(logs, (low + high) / 2, third)
    # The fewest that one kind with its peak between both would have there.
    expected = min(_within(logs, low, third), _within(logs, high, third))
    if between > _VALLEY * expected or at_least(expected, expected + between, 0.5) >= ALPHA / 2:
        return None
    slow = np.zeros(n, bool)
    slow[order[cut:]] = True
    return _Kinds(slow, float(np.exp(low)), float(np.exp(high)))


def _best_cut(logs: Floats, least: int) -> int | None:
    """Where to cut sorted values so that the variance within both parts is least."""
    n = len(logs)
    if n < 2 * least:
        return None
    sums, places = np.cumsum(logs), np.arange(least, n - least + 1)
    below = sums[places - 1]
    between = below**2 / places + (sums[-1] - below) ** 2 / (n - places)
    return int(places[between.argmax()])


def _within(logs: Floats, middle: float, width: float) -> int:
    """How many values are in a window of this width."""
    low, high = np.searchsorted(logs, [middle - width / 2, middle + width / 2])
    return int(high - low)


def _separators(evidence: Evidence, known: Mask, slow: Mask) -> Iterator[_Separator]:
    """Each key that divides both kinds, beyond chance."""
    sample = evidence.sample
    found: list[_Separator] = []
    tests = 0
    for key, texts in (*sample.groups(), ("prompt cache", sample.text["cache"])):
        values, codes = len(texts.values), texts.codes[known]
        if 1 < values <= _MOST_VALUES:
            tests += values
            found += [
                _of_value(key, texts, code, codes, slow)
                for code in range(values)
                if texts.values[code] or key == "prompt cache"
            ]
    numbers = {
        "open streams": evidence.course.open_at(sample.due),
        "time of the run": sample.due,
        "input tokens": sample.input_tokens,
        "new connections": (~np.isnan(sample.connect)).astype(np.float64),
    }
    for key, column in numbers.items():
        tests += 1
        found += _of_number(key, column[known], slow)
    n_slow, n_fast = int(slow.sum()), int((~slow).sum())
    for each in found:
        hits, others = round(each.in_slow * n_slow), round(each.in_fast * n_fast)
        if each.youden >= _SEPARATES and more_often(hits, n_slow, others, n_fast) < ALPHA / 2 / max(1, tests):
            yield each


def _of_value(key: str, texts: Texts, code: int, codes: np.typing.NDArray[np.int64], slow: Mask) -> _Separator:
    has = codes == code
    in_slow, in_fast = float(has[slow].mean()), float(has[~slow].mean())
    own = key in {"worker", "address", "replica", "prompt cache"}
    return _Separator(key, texts.values[code], in_slow - in_fast, in_slow, in_fast, own)


def _of_number(key: str, column: Floats, slow: Mask) -> list[_Separator]:
    there = ~np.isnan(column)
    ours, theirs = column[there & slow], column[there & ~slow]
    if min(len(ours), len(theirs)) < _FEWEST:
        return []
    _, high, low = divided(ours, theirs)
    if high < low:
        high, low = 1 - high, 1 - low
    return [_Separator(key, "", high - low, high, low, key in {"open streams", "new connections"})]
