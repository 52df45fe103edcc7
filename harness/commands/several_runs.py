"""`streamgauge run` with --repeat or --gate: several runs of one scenario, and what they exit with.

`run` imports this module only then: a single run needs neither the gate nor its statistics.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from streamgauge.harness.compare import stages
from streamgauge.harness.compare.series import Series, Turn, Work, turns, worst
from streamgauge.harness.config.load import load
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare import comparison, regression
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.outputs import dispatch, kinds, lines

_SAID: dict[int, str] = {
    Exit.MET: "met",
    Exit.MISSED: "missed",
    Exit.MISTAKE: "without a verdict",
    Exit.INCONCLUSIVE: "inconclusive or invalid",
}


def run(work: Work, reporting: Mapping[str, Any], repeat: int | None, baseline: str | None) -> Exit:
    """`reporting`: the options that say where the result goes. `repeat` None: as many runs as the gate takes."""
    series = Series(work)
    # Only the last run writes files and reports to CI: otherwise each run would overwrite the files of the one before.
    all_turns = turns(1, repeat or regression.FIRST_RUNS)
    all_turns[-1] = Turn(all_turns[-1].labels, {**all_turns[-1].options, **reporting}, environ=None)
    return _repeated(series, all_turns) if baseline is None else _gated(series, all_turns, baseline)


def _repeated(series: Series, all_turns: Sequence[Turn]) -> Exit:
    series.run(all_turns)
    counted = Counter(_SAID.get(code, "ended otherwise") for code in series.codes)
    lines.show(f"{some(len(series.codes), 'run')}: {', '.join(f'{n} {said}' for said, n in counted.items())}")
    return worst(series.codes)


def _gated(series: Series, all_turns: Sequence[Turn], baseline: str) -> Exit:
    options = series.work.options
    config = load(options["config"])
    gate = Gate.of(config.regression)
    stages.check(options["db"], baseline)
    complete = stages.first(series, all_turns, baseline)
    codes = list(series.codes)
    if Exit.MISTAKE in codes:
        return Exit.MISTAKE
    if not complete:
        lines.warn("streamgauge: a run did not finish, so the gate has nothing to judge")
        return worst([*codes, Exit.INCONCLUSIVE])
    compared = stages.judge(series, baseline, gate, lines.warn)
    dispatch.show(compared, kinds.requested([]))
    gated = comparison.exit_code(compared, options["inconclusive"])
    # Without rules every run is INCONCLUSIVE, which must not decide the exit code.
    return worst([*(codes if config.sla else []), gated])
