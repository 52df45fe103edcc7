"""`streamgauge run` with --repeat or --gate: several runs of one scenario, and what they exit with.

`run` imports this module only then: a single run needs neither the gate nor its statistics.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from streamgauge.harness.compare import stages
from streamgauge.harness.compare.series import Series, Turn, Work, turns, worst
from streamgauge.harness.config.load import load
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare import comparison, gated, regression
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.gated import Gated, Result
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.outputs import dispatch, kinds, lines, save, terminal
from streamgauge.harness.judge.outputs.kinds import Output, check_place
from streamgauge.harness.judge.store import Store
from streamgauge.harness.judge.verdict import judgement
from streamgauge.harness.judge.verdict.judgement import Judgement

_SAID: dict[int, str] = {
    Exit.MET: "met",
    Exit.MISSED: "missed",
    Exit.MISTAKE: "without a verdict",
    Exit.INCONCLUSIVE: "inconclusive or invalid",
}


def run(work: Work, reporting: Mapping[str, Any], repeat: int | None, baseline: str | None) -> Exit:
    """`reporting`: the options that say where the result goes. `repeat` None: as many runs as the gate takes."""
    outputs = kinds.requested(reporting["output"] or (), reporting["json"])
    report = reporting["report"]
    if report:
        check_place(report)
    series = Series(work)
    all_turns = turns(1, repeat or regression.FIRST_RUNS)
    if baseline is None:
        return _repeated(series, all_turns, outputs, report)
    return _gated(series, all_turns, baseline, outputs, report)


def _repeated(series: Series, all_turns: Sequence[Turn], outputs: Sequence[Output], report: str | None) -> Exit:
    series.run(all_turns)
    counted = Counter(_SAID.get(code, "ended otherwise") for code in series.codes)
    lines.show(f"{some(len(series.codes), 'run')}: {', '.join(f'{n} {said}' for said, n in counted.items())}")
    decisive = decisive_run(series)
    if decisive is not None and Exit.MISTAKE not in series.codes:
        tell(series, decisive, decisive, outputs, report)
    return worst(series.codes)


def _gated(
    series: Series, all_turns: Sequence[Turn], baseline: str, outputs: Sequence[Output], report: str | None
) -> Exit:
    options = series.work.options
    config = load(options["config"])
    gate = Gate.of(config.regression)
    stages.check(options["db"], baseline)
    complete = stages.first(series, all_turns, baseline)
    codes = list(series.codes)
    decisive = decisive_run(series)
    if Exit.MISTAKE in codes or decisive is None:
        return Exit.MISTAKE if Exit.MISTAKE in codes else worst([*codes, Exit.INCONCLUSIVE])
    if not complete:
        lines.warn("streamgauge: a run did not finish, so the gate has nothing to judge")
        tell(series, decisive, decisive, outputs, report)
        return worst([*codes, Exit.INCONCLUSIVE])
    compared = stages.judge(series, baseline, gate, lines.warn)
    tell(series, Gated(decisive, compared), decisive, outputs, report)
    of_gate = comparison.exit_code(compared, options["inconclusive"])
    # Without rules every run is INCONCLUSIVE, which must not decide the exit code.
    return worst([*(codes if config.sla else []), of_gate])


def decisive_run(series: Series) -> Judgement | None:
    """The judgement of the run whose rules ended worst; None if no run is in the database."""
    ids = series.ids()
    if not ids:
        return None
    with Store.open(series.work.options["db"]) as store:
        return gated.worst([judgement.judge(store, run_id) for run_id in ids])


def tell(series: Series, result: Result, decisive: Judgement, outputs: Sequence[Output], report: str | None) -> None:
    """Write the outputs once for all runs, so that none of them looks better than the exit code.

    Each run has been printed in its line, so only the gate's result is printed.
    """
    printing = terminal.show if isinstance(result, Gated) else _print_nothing
    more = [partial(_write_report, series.work.options["db"], decisive.run.id, report)] if report else []
    dispatch.show(result, outputs, more, printing)


def _write_report(database: str, run_id: str, path: str) -> None:
    # Imported only here: plotly takes 0.1 s.
    from streamgauge.reports import page  # noqa: PLC0415
    from streamgauge.reports.material import gather  # noqa: PLC0415

    with Store.open(database) as store:
        save(page.render(gather(store, run_id)), path)


def _print_nothing(_result: Result) -> None:
    pass
