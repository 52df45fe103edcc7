"""`streamgauge judge`: a verdict from the database alone."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

import click

from streamgauge.harness.commands import click_options
from streamgauge.harness.commands.rules_file import rules_and_reader
from streamgauge.harness.errors import StoreError
from streamgauge.harness.exit_codes import Exit
from streamgauge.harness.judge.outputs import dispatch, kinds, terminal
from streamgauge.harness.judge.outputs.kinds import Output
from streamgauge.harness.judge.store import Run, Store
from streamgauge.harness.judge.verdict import itl_counts, judgement


@click.command(name="judge")
@click.argument("db")
@click_options.run_id
@click_options.config_for("Judge by the rules of this file.", "the rules that the run was run with")
@click_options.of_run("all", "json", "output", "inconclusive")
@click_options.alert
@click.pass_context
def command(ctx: click.Context, /, db: str, run_id: str | None, config: str | None, **options: Any) -> None:
    """Judge a run again, from its database alone.

    Of a search for a capacity, it says again what was found.
    """
    alerts = _alerting().receivers(config) if options["alert"] else None
    outputs = kinds.requested(options["output"], options["json"])
    rules, reader = rules_and_reader(config)
    with Store.open(db) as store:
        run = store.run(run_id)
        if judgement.is_search(run):
            given = {"alert": options["alert"], "all": options["all"], "config": config is not None}
            ctx.exit(_search(store, run, outputs, given))
        judged = judgement.judge(store, run.id, rules, reader=reader)
        with suppress(StoreError):  # of a file that is read-only, or that another process is writing to
            itl_counts.keep(store, judged)
    dispatch.show(judged, outputs, printing=terminal.show_all if options["all"] else terminal.show)
    code = judgement.exit_code(judged, options["inconclusive"])
    if alerts is not None:
        _alerting().tell(alerts, judged, code)
    ctx.exit(code)


def _search(store: Store, run: Run, outputs: Sequence[Output], given: Mapping[str, bool]) -> Exit:
    """Imported only here: a verdict of a load test needs nothing of a search."""
    from streamgauge.harness.commands import searched  # noqa: PLC0415

    return searched.told(store, run, outputs, given)


def _alerting() -> ModuleType:
    """Imported only here: without --alert, no HTTP client is needed."""
    from streamgauge.harness.commands import alerting  # noqa: PLC0415

    return alerting
