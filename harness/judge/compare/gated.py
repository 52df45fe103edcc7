"""The rules and the gate of one series as one result: its verdict is the worse of the two. Pure."""

from dataclasses import dataclass

from streamgauge.harness.judge.compare.comparison import Comparison, GateStatus
from streamgauge.harness.judge.verdict.judgement import Judgement, RunVerdict

_WORST_FIRST = (  # as their exit codes
    RunVerdict.MISSED, GateStatus.REGRESSED, RunVerdict.INVALID, GateStatus.INVALID,
    RunVerdict.INCONCLUSIVE, GateStatus.INCONCLUSIVE,
)  # fmt: skip


@dataclass(frozen=True)
class Gated:
    judgement: Judgement  # of the run whose rules ended worst
    compared: Comparison

    @property
    def has_rules(self) -> bool:
        """Whether the rules count: without any, every run is INCONCLUSIVE, and only the gate decides."""
        return bool(self.judgement.verdicts) or self.judgement.verdict is RunVerdict.INVALID

    @property
    def status(self) -> str:
        """A RunVerdict or a GateStatus."""
        of_rules, of_gate = self.judgement.verdict, self.compared.status
        if not self.has_rules:
            return of_gate.value
        worst = next((each for each in _WORST_FIRST if each in (of_rules, of_gate)), of_rules)
        return worst.value

    @property
    def reason(self) -> str:
        """Of both, the one that decided first."""
        compared, judgement = self.compared, self.judgement
        if not self.has_rules:
            return compared.reason
        if self.status == compared.status.value != judgement.verdict.value:
            return f"{compared.reason}; rules {judgement.verdict}: {judgement.reason}"
        return f"{judgement.reason}; {compared.status} against {compared.baseline}: {compared.reason}"


def worst(judgements: list[Judgement]) -> Judgement:
    """The judgement of a series' runs that decides; of equal ones, the newest."""
    order = (RunVerdict.MISSED, RunVerdict.INVALID, RunVerdict.INCONCLUSIVE, RunVerdict.MET)
    return min(reversed(judgements), key=lambda each: order.index(each.verdict))


Result = Judgement | Comparison | Gated  # what is told in one of the formats of judge.outputs
