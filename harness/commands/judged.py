"""What `streamgauge judge` does, apart from the command itself, which imports this while another process starts."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from streamgauge.harness.commands.rules_file import rules_and_reader
from streamgauge.harness.errors import StoreError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import dispatch, kinds, terminal
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.second_process import SecondProcess
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.judge.verdict import itl_counts, judgement
from streamgauge.harness.judge.verdict.judgement import Judgement


def told(
    db: str, second: SecondProcess | None, run_id: str | None, config: str | None, options: Mapping[str, Any]
) -> Exit:
    """Judge this run of this database, which `second` will read, and tell the verdict as `options` say."""
    if not options["alert"]:
        return _shown(db, second, run_id, config, options)[0]
    # Imported only here: without --alert, no HTTP client is needed.
    from streamgauge.harness.commands import alerting  # noqa: PLC0415

    alerts = alerting.receivers(config)
    with alerting.mistakes_told(alerts, db, db):
        code, judged = _shown(db, second, run_id, config, options)
    if judged is not None:
        alerting.tell(alerts, judged, code)
    return code


def _shown(
    db: str, second: SecondProcess | None, run_id: str | None, config: str | None, options: Mapping[str, Any]
) -> tuple[Exit, Judgement | None]:
    """Judge and show it. Returns the exit code, and the judgement; None of a search for a capacity."""
    outputs = kinds.requested(options["output"], options["json"])
    rules, reader = rules_and_reader(config)
    with Store.open(db) as store:
        store.second_process = second
        run = store.run(run_id)
        if judgement.is_search(run):
            given = {"alert": options["alert"], "all": options["all"], "config": config is not None}
            return _search(store, run, outputs, given), None
        judged = judgement.judge(store, run.id, rules, reader=reader)
        with suppress(StoreError):  # of a file that is read-only, or that another process is writing to
            itl_counts.keep(store, judged)
    dispatch.show(judged, outputs, printing=terminal.show_all if options["all"] else terminal.show)
    return judgement.exit_code(judged, options["inconclusive"]), judged


def _search(store: Store, run: Run, outputs: Sequence[Output], given: Mapping[str, bool]) -> Exit:
    """Imported only here: a verdict of a load test needs nothing of a search."""
    from streamgauge.harness.commands import searched  # noqa: PLC0415

    return searched.told(store, run, outputs, given)
