"""`streamgauge run` with --repeat or --gate: several runs of one scenario, and what they exit with.

`run` imports this module only then: a single run needs neither the gate nor its statistics.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from streamgauge.harness.commands import alerting, pages
from streamgauge.harness.compare import stages
from streamgauge.harness.compare.series import Series, Work, turns, with_run_time, worst
from streamgauge.harness.config.load import load
from streamgauge.harness.config.receivers import Filled
from streamgauge.harness.config.schema import Config
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.compare import comparison, gated
from streamgauge.harness.judge.compare.gate import Gate
from streamgauge.harness.judge.compare.gated import Gated, Result
from streamgauge.harness.judge.compare.run_shapes import RunShapes
from streamgauge.harness.judge.compare.stored_runs import Against
from streamgauge.harness.judge.figures import some
from streamgauge.harness.judge.outputs import dispatch, kinds, lines, terminal
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


class Reporting(NamedTuple):
    """Where the result goes."""

    outputs: Sequence[Output]
    page: str | None  # a path
    alerts: Filled | None  # None: without --alert


class Ended(NamedTuple):
    code: Exit
    result: Judgement | Gated | None  # None: nothing could be judged


def run(work: Work, reporting: Mapping[str, Any], repeat: int | None, baseline: str | None) -> Exit:
    """`reporting`: the options that say where the result goes. `repeat` None: as many runs as the gate takes."""
    config = load(work.options["config"])
    alerts = alerting.receivers(work.options["config"]) if reporting["alert"] else None
    to = Reporting(kinds.requested(reporting["output"] or (), reporting["json"]), reporting["report"], alerts)
    if to.page:
        check_place(to.page)
    series = Series(replace(work, options=with_run_time(work.options, config.regression)))
    about = work.scenario, work.options["host"]
    with alerting.mistakes_told(alerts, *about):
        ended = _repeated(series, repeat or 1, to) if baseline is None else _gated(series, repeat, baseline, config, to)
    if alerts is not None and ended.result is not None:
        alerting.tell(alerts, ended.result, ended.code)
    elif alerts is not None:
        alerting.tell_of_no_verdict(alerts, *about, "its runs failed; the command's output says why")
    return ended.code


def _repeated(series: Series, repeat: int, to: Reporting) -> Ended:
    series.run(turns(1, repeat))
    counted = Counter(_SAID.get(code, "ended otherwise") for code in series.codes)
    lines.show(f"{some(len(series.codes), 'run')}: {', '.join(f'{n} {said}' for said, n in counted.items())}")
    decisive = decisive_run(series)
    if decisive is None or Exit.MISTAKE in series.codes:
        return Ended(worst(series.codes), None)
    tell(decisive, to, _page_of(series, decisive))
    return Ended(worst(series.codes), decisive)


def _gated(series: Series, repeat: int | None, baseline: str, config: Config, to: Reporting) -> Ended:
    options = series.work.options
    gate, shapes = Gate.of(config.regression), RunShapes()
    against = Against(baseline, gate, shapes.take)
    stages.check(options["db"], against)
    if repeat is None:
        complete = stages.first_until_clear(series, turns(1, gate.first_runs), against, lines.warn)
    else:
        complete = stages.first(series, turns(1, repeat), against)
    codes = list(series.codes)
    decisive = decisive_run(series)
    if Exit.MISTAKE in codes or decisive is None:
        return Ended(Exit.MISTAKE if Exit.MISTAKE in codes else worst([*codes, Exit.INCONCLUSIVE]), None)
    if not complete:
        lines.warn("streamgauge: a run did not finish, so the gate has nothing to judge")
        tell(decisive, to, _page_of(series, decisive))
        return Ended(worst([*codes, Exit.INCONCLUSIVE]), decisive)
    compared = stages.judge(series, against, lines.warn)
    both = Gated(decisive, compared)
    tell(both, to, partial(pages.of_rules_and_gate, options["db"], both, gate, shapes))
    of_gate = comparison.exit_code(compared, options["inconclusive"])
    # Without rules every run is INCONCLUSIVE, which must not decide the exit code.
    return Ended(worst([*(codes if config.sla else []), of_gate]), both)


def decisive_run(series: Series) -> Judgement | None:
    """The judgement of the run whose rules ended worst; None if no run is in the database."""
    ids = series.ids()
    if not ids:
        return None
    with Store.open(series.work.options["db"]) as store:
        return gated.worst([judgement.judge(store, run_id) for run_id in ids])


def tell(result: Result, to: Reporting, write_page: Callable[[str], None]) -> None:
    """Write the outputs once for all runs, so that none of them looks better than the exit code.

    Each run has been printed in its line, so only the gate's result is printed.
    """
    printing = terminal.show if isinstance(result, Gated) else _print_nothing
    dispatch.show(result, to.outputs, [partial(write_page, to.page)] if to.page else [], printing)


def _page_of(series: Series, decisive: Judgement) -> Callable[[str], None]:
    return partial(pages.of_run, series.work.options["db"], decisive.run.id)


def _print_nothing(_result: Result) -> None:
    pass
