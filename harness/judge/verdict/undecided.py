"""What lets an inconclusive run be judged: rules, or more of the same load. Pure."""

import math
from collections.abc import Sequence

from streamgauge.harness.judge.figures import span
from streamgauge.harness.judge.verdict.sla import RuleStatus, Verdict

_NO_RULES = (
    "give the run rules to be judged by, as [[sla]] in streamgauge.toml: `streamgauge judge --config` then judges "
    "this run, too"
)
_IN_TENS = 600.0  # seconds: a longer time is told in whole minutes


def what_would_decide(verdicts: Sequence[Verdict], seconds: float, warm_up: float) -> str:
    """What to do about an inconclusive run, without a full stop; "" if no rule would be settled by more streams.

    `seconds`: how long the run took after its warm-up, which took `warm_up`.
    """
    if not verdicts:
        return _NO_RULES
    unsure = [each for each in verdicts if each.severity == "fail" and each.status is RuleStatus.INCONCLUSIVE]
    longer = [each.needed / each.n for each in unsure if each.needed is not None and each.needed > each.n > 0]
    if not longer:
        return ""
    time = span(_rounded_up(warm_up + max(longer) * seconds))
    return f"run the same load for about {time}: that would settle {_which(len(longer), len(unsure))}"


def _rounded_up(seconds: float) -> float:
    step = 10.0 if seconds <= _IN_TENS else 60.0
    return step * math.ceil(seconds / step)


def _which(settled: int, unsure: int) -> str:
    if unsure == 1:
        return "the inconclusive rule"
    if settled < unsure:
        return f"{settled} of the {unsure} inconclusive rules"
    return "both inconclusive rules" if unsure == 2 else f"all {unsure} inconclusive rules"
